# ruff: noqa: E501 -- as makemigrations writes it
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("crm", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="contact",
            name="phone",
            field=models.CharField(
                help_text="As you write it: the inbox is searched for the number, however it is written.",
                max_length=40,
                unique=True,
            ),
        ),
    ]
