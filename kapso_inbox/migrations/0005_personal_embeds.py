from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('kapso_inbox', '0004_wrong_origin'),
    ]

    operations = [
        migrations.AddField(
            model_name='inboxembed',
            name='personal_to',
            field=models.CharField(blank=True, db_index=True, default='', editable=False, help_text='The primary key of the only user who may open it; blank: no such one.', max_length=64, verbose_name='only for the user'),
            preserve_default=False,
        ),
    ]
