// Package render makes the forms of a certificate that people and other programs read: a page as PDF
// or HTML, a code that a telephone reads, and rows for registers of drives.
//
// A form is never the evidence: the signed certificate is, and page forms carry it byte for byte. Every word of a form that is
// about the drive comes from bytes that were verified; what people said of it is marked as theirs,
// and the letterhead of the site as no part of the certificate.
//
// A form depends on its certificate alone: it has no clock, and the same certificate gives the same
// bytes by the same build of this program. (Another one may compress them otherwise.)
package render
