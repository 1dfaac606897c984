"""send.py HOST PORT FROM TO ATTACHMENT: a message with smtplib."""
import smtplib
import sys
from email.message import EmailMessage

host, port, sender, to, attachment = sys.argv[1:]
message = EmailMessage()
message["Subject"], message["From"], message["To"] = "scan by smtplib", sender, to
message.set_content("Grüße\n.\n..dots\nlast line\n")
with open(attachment, "rb") as f:
    message.add_attachment(f.read(), maintype="application", subtype="octet-stream", filename="scan.bin")
with smtplib.SMTP(host, int(port)) as client:
    client.send_message(message)
