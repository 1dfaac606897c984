# send.rb HOST PORT FROM TO ATTACHMENT: a message with Ruby's Net::SMTP
require "net/smtp"

host, port, sender, to, attachment = ARGV
text = "Gr\u00fc\u00dfe\n.\n..dots\nlast line"
message = <<~MESSAGE
  From: #{sender}
  To: #{to}
  Subject: scan by ruby
  MIME-Version: 1.0
  Content-Type: multipart/mixed; boundary=x

  --x
  Content-Type: text/plain; charset=utf-8
  Content-Transfer-Encoding: 8bit

  #{text.gsub("\n", "\n  ").gsub(/^  /, "")}
  --x
  Content-Type: application/octet-stream
  Content-Transfer-Encoding: base64
  Content-Disposition: attachment; filename=scan.bin

  #{[File.binread(attachment)].pack("m0")}
  --x--
MESSAGE
Net::SMTP.start(host, port.to_i, starttls: false) { |smtp| smtp.send_message(message, sender, to) }
