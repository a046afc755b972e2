from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('kapso_inbox', '0003_launch_tickets'),
    ]

    operations = [
        migrations.AlterField(
            model_name='inboxopening',
            name='outcome',
            field=models.CharField(choices=[('opened', 'Opened'), ('not_in_frame', 'Not asked for by a frame of this site'), ('signed_out', 'Signed out'), ('bad_parameter', 'Wrong parameter'), ('not_available', 'Not allowed, or no such inbox'), ('not_ready', 'No working link yet'), ('revoked', 'Revoked'), ('expired', 'Expired'), ('secret_lost', 'Secret lost'), ('not_recorded', 'Could not be recorded'), ('bad_ticket', 'Ticket not valid, or used before'), ('wrong_origin', 'Its link does not allow the origin of the page')], max_length=20, verbose_name='outcome'),
        ),
    ]
