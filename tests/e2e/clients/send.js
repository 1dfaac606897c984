// send.js HOST PORT FROM TO ATTACHMENT: a message with Nodemailer
module.paths.push("/usr/share/nodejs");
const nodemailer = require("nodemailer");

const [host, port, from, to, attachment] = process.argv.slice(2);
const transport = nodemailer.createTransport({ host, port: Number(port), secure: false });
transport.sendMail({
    from, to, subject: "scan by nodemailer", text: "Gr\u00fc\u00dfe\n.\n..dots\nlast line",
    attachments: [{ filename: "scan.bin", path: attachment, contentType: "application/octet-stream" }],
}).then(() => transport.close(), (error) => {
    console.error(error);
    process.exit(1);
});
