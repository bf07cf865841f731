package attest

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// PDF is what a certificate's page carries: the certificate, and the seal over page and certificate.
type PDF struct {
	Bundle []byte // the attachment, certificate.json, byte for byte. Nothing in it was verified
	// Seal is a c2sp.org/signed-note whose text is SealedText. Whether its signature is of the key of the
	// certificate's log is for the caller to check: until then the page is anybody's.
	Seal       string
	SealedText string
}

// Why a file is not a page that can be relied on. The values are stable.
const (
	PDFNotOurs     = "pdf_not_ours"    // not a PDF, or not in the one form that this program writes
	PDFRevised     = "pdf_revised"     // something was added: another revision, or bytes behind the end
	PDFAttachments = "pdf_attachments" // not exactly one attachment, certificate.json
	PDFActive      = "pdf_active"      // something in it acts when it is opened
	PDFUnsealed    = "pdf_unsealed"    // there is no seal
	PDFSeal        = "pdf_seal"        // the seal is not of this page and this attachment
)

// PDFError is a page that cannot be relied on.
type PDFError struct {
	Reason string // one of the PDF constants
	Err    error
}

func (e *PDFError) Error() string { return "PDF: " + e.Err.Error() }
func (e *PDFError) Unwrap() error { return e.Err }

func notPDF(reason, format string, args ...any) *PDFError {
	return &PDFError{reason, fmt.Errorf(format, args...)}
}

const (
	MaxPDF        = 4 << 20 // bytes of a page
	maxPDFObjects = 4096
	maxPDFSeal    = 900 // bytes of the lines: viewers look for the end of the document in the last 1024
)

// The frame of a page. What follows the header are the objects, in the order of their numbers and with
// nothing between them.
const (
	PDFHeader     = "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
	PDFEnd        = "%%EOF\n"
	PDFAttachment = "certificate.json"
	PDFSealLine   = "% expunge-seal: "
)

// PDFSealText is what the seal of a page signs: the hashes of all of the page's bytes before the seal, and
// of the certificate attached to it.
func PDFSealText(page, bundle []byte) string {
	return "expunge.pdf/v1\n" + hexSHA256(page) + "\n" + hexSHA256(bundle) + "\n"
}

// OpenPDF takes the certificate out of a page, and refuses every PDF but those in the form that this
// program writes: one revision, one attachment, nothing that acts, nothing behind the end but the
// seal, which fits. The error is a *PDFError. With PDFUnsealed the bundle is there: the attachment can be judged by itself,
// and the page is worth nothing.
func OpenPDF(data []byte) (PDF, error) {
	page, tail, err := framePDF(data)
	if err != nil {
		return PDF{}, err
	}
	f, err := parsePDF(page)
	if err != nil {
		return PDF{}, err
	}
	bundle, err := f.attachment()
	if err != nil {
		return PDF{}, err
	}
	p := PDF{Bundle: bundle, SealedText: PDFSealText(page, bundle)}
	if tail == "" {
		return p, notPDF(PDFUnsealed, "the page has no seal: nothing says who drew it")
	}
	if p.Seal, err = sealOf(tail); err != nil {
		return PDF{}, err
	}
	signatures, fits := strings.CutPrefix(p.Seal, p.SealedText+"\n")
	if !fits {
		return PDF{}, notPDF(PDFSeal, "the seal is not of this page and this attachment")
	}
	if !strings.HasPrefix(signatures, "\u2014 ") || !strings.HasSuffix(signatures, "\n") {
		return PDF{}, notPDF(PDFSeal, "the seal is not signed")
	}
	return p, nil
}

// CheckSeal says whether a page is sealed by the log of the certificate in it, of which this is the report. The error is a
// *PDFError.
func (r Report) CheckSeal(p PDF) error {
	if r.opened == nil {
		return notPDF(PDFSeal, "the certificate in the page is not authentic")
	}
	n, err := note.Open([]byte(p.Seal), note.VerifierList(r.opened.log.verifiers[0]))
	if err != nil {
		return notPDF(PDFSeal, "the seal is not of the certificate's log: %w", err)
	}
	if n.Text != p.SealedText || len(n.Sigs) != 1 || len(n.UnverifiedSigs) > 0 || !oneForm(n, []byte(p.Seal)) {
		return notPDF(PDFSeal, "the seal is not of this page and this attachment, or not in its one form")
	}
	return nil
}

// framePDF finds the one end of the document, and what is behind it.
func framePDF(data []byte) (page []byte, tail string, err error) {
	if len(data) > MaxPDF {
		return nil, "", notPDF(PDFNotOurs, "%d bytes, at most %d", len(data), MaxPDF)
	}
	if !bytes.HasPrefix(data, []byte(PDFHeader)) {
		return nil, "", notPDF(PDFNotOurs, "it does not begin as the pages of this program")
	}
	for _, once := range []string{"%PDF-", "startxref", "%%EOF"} {
		switch n := bytes.Count(data, []byte(once)); {
		case n == 0:
			return nil, "", notPDF(PDFNotOurs, "%s is missing: the file is cut off", once)
		case n > 1:
			return nil, "", notPDF(PDFRevised, "%d times %s: something was added to the page", n, once)
		}
	}
	at := bytes.Index(data, []byte(PDFEnd))
	if at < 0 {
		return nil, "", notPDF(PDFNotOurs, "the last line is cut off")
	}
	page, behind := data[:at+len(PDFEnd)], data[at+len(PDFEnd):]
	switch {
	case len(behind) == 0:
		return page, "", nil
	case !bytes.HasPrefix(behind, []byte(PDFSealLine)):
		return nil, "", notPDF(PDFRevised, "%d bytes behind the end of the page that are no seal", len(behind))
	case len(behind) > maxPDFSeal:
		return nil, "", notPDF(PDFSeal, "%d bytes of seal, at most %d", len(behind), maxPDFSeal)
	}
	return page, string(behind), nil
}

// sealOf decodes the one line behind the end.
func sealOf(tail string) (string, error) {
	line, ended := strings.CutSuffix(strings.TrimPrefix(tail, PDFSealLine), "\n")
	if !ended || strings.Contains(line, "\n") {
		return "", notPDF(PDFRevised, "the seal is not the one last line")
	}
	note, err := decodeBase64(line)
	if err != nil {
		return "", notPDF(PDFSeal, "the seal: %w", err)
	}
	return string(note), nil
}

// PDFSealLines are what a note becomes behind the end of a page.
func PDFSealLines(note []byte) ([]byte, error) {
	lines := []byte(PDFSealLine + base64.StdEncoding.EncodeToString(note) + "\n")
	if len(lines) > maxPDFSeal {
		return nil, fmt.Errorf("seal of %d bytes, at most %d", len(lines), maxPDFSeal)
	}
	return lines, nil
}

// pdfFile is a page taken apart.
type pdfFile struct {
	objects []pdfObject // by number, from 1
	trailer pdfDict
}

type pdfObject struct {
	dict   pdfDict
	stream []byte // nil where there is none
}

// parsePDF reads the cross-reference table and all objects, which must lie between header and table
// without a gap, so that there is nothing in the file that this did not look at.
func parsePDF(page []byte) (*pdfFile, error) {
	end, err := startOf(page)
	if err != nil {
		return nil, err
	}
	offsets, rest, err := crossReferences(page, end)
	if err != nil {
		return nil, err
	}
	f := &pdfFile{}
	for i, from := range offsets {
		to := end
		if i+1 < len(offsets) {
			to = offsets[i+1]
		}
		if i == 0 && from != len(PDFHeader) || from >= to || to > len(page) {
			return nil, notPDF(PDFNotOurs, "object %d is not where it must be", i+1)
		}
		o, err := parseObject(i+1, page[from:to])
		if err != nil {
			return nil, err
		}
		f.objects = append(f.objects, o)
	}
	body, trailed := bytes.CutPrefix(rest, []byte("trailer\n"))
	r := pdfReader{data: body}
	f.trailer, err = r.dict(0)
	if !trailed || err != nil || string(r.data[r.at:]) != fmt.Sprintf("\nstartxref\n%d\n%s", end, PDFEnd) {
		return nil, orNotPDF(err, "the trailer is not in its one form")
	}
	return f, nil
}

// startOf is where the cross-reference table is said to be.
func startOf(page []byte) (int, error) {
	at := bytes.Index(page, []byte("\nstartxref\n"))
	if at < 0 {
		return 0, notPDF(PDFNotOurs, "startxref does not stand alone")
	}
	digits := string(bytes.TrimSuffix(page[at+len("\nstartxref\n"):], []byte("\n"+PDFEnd)))
	n, err := strconv.Atoi(digits)
	if err != nil || n < len(PDFHeader) || n >= at || strconv.Itoa(n) != digits {
		return 0, notPDF(PDFNotOurs, "the end of the page is not in its one form")
	}
	return n, nil
}

// crossReferences are the offsets of the objects from 1 on, and what follows the table.
func crossReferences(page []byte, at int) (offsets []int, rest []byte, err error) {
	body, isTable := bytes.CutPrefix(page[at:], []byte("xref\n0 "))
	line, rest, ended := bytes.Cut(body, []byte("\n"))
	n, err := strconv.Atoi(string(line))
	const entry = len("0000000000 65535 f \n")
	if !isTable || !ended || err != nil || n < 2 || n > maxPDFObjects || len(rest) < n*entry || string(rest[:entry]) != "0000000000 65535 f \n" {
		return nil, nil, notPDF(PDFNotOurs, "the table of objects is not in its one form")
	}
	for i := 1; i < n; i++ {
		text := string(rest[i*entry : (i+1)*entry])
		offset, err := strconv.Atoi(text[:10])
		if err != nil || text != fmt.Sprintf("%010d 00000 n \n", offset) {
			return nil, nil, notPDF(PDFNotOurs, "the entry of object %d is not in its one form", i)
		}
		offsets = append(offsets, offset)
	}
	return offsets, rest[n*entry:], nil
}

func parseObject(number int, data []byte) (pdfObject, error) {
	body, begins := bytes.CutPrefix(data, fmt.Appendf(nil, "%d 0 obj\n", number))
	r := pdfReader{data: body}
	dict, err := r.dict(0)
	if !begins || err != nil {
		return pdfObject{}, orNotPDF(err, "object %d is not where it must be", number)
	}
	rest := body[r.at:]
	if string(rest) == "\nendobj\n" {
		return pdfObject{dict: dict}, nil
	}
	length, _ := dict["Length"].(pdfNumber)
	n, err := strconv.Atoi(string(length))
	stream, isStream := bytes.CutPrefix(rest, []byte("\nstream\n"))
	if !isStream || err != nil || n < 0 || n > len(stream) || string(stream[n:]) != "\nendstream\nendobj\n" {
		return pdfObject{}, notPDF(PDFNotOurs, "the stream of object %d is not in its one form", number)
	}
	return pdfObject{dict, stream[:n:n]}, nil
}

func orNotPDF(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return notPDF(PDFNotOurs, format, args...)
}

// attachment is the one file that the page has in it.
func (f *pdfFile) attachment() ([]byte, error) {
	files, specs := 0, 0
	for _, o := range f.objects {
		switch o.dict["Type"] {
		case pdfName("EmbeddedFile"):
			files++
		case pdfName("Filespec"):
			specs++
		}
	}
	if files != 1 || specs != 1 {
		return nil, notPDF(PDFAttachments, "%d attachments named %d times, want one", files, specs)
	}
	names, _ := f.get(f.trailer["Root"]).dict["Names"].(pdfDict)
	tree, _ := names["EmbeddedFiles"].(pdfDict)
	list, _ := tree["Names"].(pdfArray)
	if len(names) != 1 || len(tree) != 1 || len(list) != 2 || list[0] != pdfString(PDFAttachment) {
		return nil, notPDF(PDFAttachments, "the attachment is not listed as %s alone", PDFAttachment)
	}
	spec := f.get(list[1]).dict
	ef, _ := spec["EF"].(pdfDict)
	ref, _ := ef["F"].(pdfRef)
	file := f.get(ref)
	if spec["Type"] != pdfName("Filespec") || spec["F"] != pdfString(PDFAttachment) || spec["UF"] != pdfString(PDFAttachment) ||
		ef["UF"] != ref || len(ef) != 2 || file.dict["Type"] != pdfName("EmbeddedFile") || file.dict["Filter"] != pdfName("FlateDecode") {
		return nil, notPDF(PDFAttachments, "the attachment is not %s", PDFAttachment)
	}
	bundle, err := inflate(file.stream)
	if err != nil {
		return nil, notPDF(PDFAttachments, "the attachment: %w", err)
	}
	return bundle, nil
}

// get follows a reference; what leads nowhere is an empty object.
func (f *pdfFile) get(v any) pdfObject {
	if n, ok := v.(pdfRef); ok && n >= 1 && int(n) <= len(f.objects) {
		return f.objects[n-1]
	}
	return pdfObject{}
}

// inflate unpacks at most a certificate's greatest size.
func inflate(packed []byte) ([]byte, error) {
	in := bytes.NewReader(packed)
	z, err := zlib.NewReader(in)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(z, MaxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > MaxSize:
		return nil, fmt.Errorf("more than %d bytes", MaxSize)
	case in.Len() > 0:
		return nil, errors.New("bytes behind its end")
	}
	return data, nil
}
