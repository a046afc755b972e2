import django.db.models.deletion
from django.db import migrations, models

from kapso_inbox.inbox.phone import NotANumberError, search_text


def fill_whatsapp(apps, schema_editor):
    for contact in apps.get_model("crm", "Contact").objects.all():
        try:
            contact.whatsapp = search_text(contact.phone)
        except NotANumberError:
            continue
        contact.save(update_fields=["whatsapp"])


class Migration(migrations.Migration):
    dependencies = [
        ("crm", "0002_phone_as_written"),
    ]

    operations = [
        migrations.AddField(
            model_name="contact",
            name="whatsapp",
            field=models.CharField(
                blank=True,
                db_index=True,
                editable=False,
                help_text="The number in WhatsApp's notation, to find the contact of a message.",
                max_length=15,
            ),
        ),
        migrations.RunPython(fill_whatsapp, migrations.RunPython.noop),
        migrations.CreateModel(
            name="TimelineEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("wrote", "Wrote on WhatsApp"),
                            ("answered", "Was written to"),
                            ("asked", "Asked for a person"),
                            ("ended", "The conversation ended"),
                        ],
                        max_length=10,
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "contact",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="timeline",
                        to="crm.contact",
                    ),
                ),
            ],
            options={
                "ordering": ["-at", "-pk"],
            },
        ),
    ]
