<?php
// send.php HOST PORT FROM TO ATTACHMENT: a message with PHPMailer
require '/usr/share/php/libphp-phpmailer/autoload.php';

[, $host, $port, $from, $to, $attachment] = $argv;
$mail = new PHPMailer\PHPMailer\PHPMailer(true);
$mail->isSMTP();
$mail->Host = $host;
$mail->Port = (int)$port;
$mail->CharSet = 'UTF-8';
$mail->setFrom($from);
$mail->addAddress($to);
$mail->Subject = 'scan by phpmailer';
$mail->Body = "Gr\u{fc}\u{df}e\n.\n..dots\nlast line";
$mail->addAttachment($attachment, 'scan.bin');
$mail->send();
