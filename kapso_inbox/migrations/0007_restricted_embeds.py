from django.db import migrations, models
from django.db.models import Exists, OuterRef


def note_restrictions(apps, schema_editor):
    """What has groups now is for them only."""
    embeds = apps.get_model("kapso_inbox", "InboxEmbed")
    groups = embeds.groups.through.objects.filter(inboxembed_id=OuterRef("pk"))
    manager = embeds.objects.using(schema_editor.connection.alias)
    manager.filter(Exists(groups)).update(restricted=True)


class Migration(migrations.Migration):

    dependencies = [
        ("kapso_inbox", "0006_embeds_by_name"),
    ]

    operations = [
        migrations.AddField(
            model_name="inboxembed",
            name="restricted",
            field=models.BooleanField(
                default=False, editable=False, verbose_name="for some groups only"
            ),
        ),
        migrations.AlterField(
            model_name="inboxembed",
            name="personal_to",
            field=models.CharField(
                blank=True,
                db_index=True,
                editable=False,
                help_text="The primary key of the only user who may open it; blank: no such one.",
                max_length=255,
                verbose_name="only for the user",
            ),
        ),
        migrations.RunPython(note_restrictions, migrations.RunPython.noop),
    ]
