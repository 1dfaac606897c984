# send.pl HOST PORT FROM TO ATTACHMENT: a message with Perl's Net::SMTP
use strict;
use warnings;
use MIME::Base64;
use Net::SMTP;

my ($host, $port, $sender, $to, $attachment) = @ARGV;
open(my $file, '<:raw', $attachment) or die "$attachment: $!";
my $data = do { local $/; <$file> };
my $smtp = Net::SMTP->new($host, Port => $port, Hello => 'client.example') or die "no connection: $@";
$smtp->mail($sender) or die $smtp->message;
$smtp->to($to) or die $smtp->message;
$smtp->data or die $smtp->message;
$smtp->datasend("From: $sender\nTo: $to\nSubject: scan by perl\nMIME-Version: 1.0\n"
    . "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain; charset=utf-8\n"
    . "Content-Transfer-Encoding: 8bit\n\nGr\xc3\xbc\xc3\x9fe\n.\n..dots\nlast line\n--x\n"
    . "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n"
    . "Content-Disposition: attachment; filename=scan.bin\n\n");
$smtp->datasend(encode_base64($data));
$smtp->datasend("--x--\n");
$smtp->dataend or die $smtp->message;
$smtp->quit;
