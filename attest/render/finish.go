package render

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/expunge-dev/expunge/attest"
)

var (
	startLine   = regexp.MustCompile(`startxref\n([0-9]+)\n%%EOF\n$`)
	rootLine    = regexp.MustCompile(`/Root ([0-9]+) 0 R\n/Info ([0-9]+) 0 R\n`)
	fileObject  = regexp.MustCompile(`^<< /Type /EmbeddedFile `)
	specObject  = regexp.MustCompile(`^<< /Type /Filespec `)
	entryLength = 20 // of a line of the cross-reference table
)

// finish writes the document anew in the one form that attest.OpenPDF reads: objects in order and without gaps,
// and the attachment declared as what it is, data that the page was made of (ISO 32000-2, 14.13: fpdf
// has no way to say so).
func finish(drawn []byte) ([]byte, error) {
	objects, root, info, err := objectsOf(drawn)
	if err != nil {
		return nil, fmt.Errorf("finish page: %w", err)
	}
	file, spec := 0, 0
	for n, o := range objects {
		switch {
		case fileObject.Match(o):
			file = n + 1
			o = bytes.Replace(o, []byte("/EmbeddedFile "), []byte("/EmbeddedFile /Subtype /application#2Fjson "), 1)
			objects[n] = bytes.Replace(o, []byte("\n\nstream\n"), []byte("\nstream\n"), 1)
		case specObject.Match(o):
			spec = n + 1
		}
	}
	if file == 0 || spec == 0 {
		return nil, errors.New("finish page: the attachment is not there")
	}
	objects[spec-1] = fmt.Appendf(nil, "<< /Type /Filespec /F (%s) /UF (%s) /AFRelationship /Source /Desc (the signed certificate) /EF << /F %d 0 R /UF %d 0 R >> >>\nendobj\n",
		attachmentName, attachmentName, file, file)
	objects[root-1] = fmt.Appendf(nil, "<< /Type /Catalog /Pages 1 0 R /Lang (en) /ViewerPreferences << /DisplayDocTitle true >> /AF [%d 0 R] /Names << /EmbeddedFiles << /Names [(%s) %d 0 R] >> >> >>\nendobj\n",
		spec, attachmentName, spec)
	return assemble(objects, root, info), nil
}

// objectsOf takes apart what fpdf wrote: each object without its first line.
func objectsOf(drawn []byte) (objects [][]byte, root, info int, err error) {
	start, ends := startLine.FindSubmatch(drawn), rootLine.FindSubmatch(drawn)
	if start == nil || ends == nil {
		return nil, 0, 0, errors.New("no end was drawn")
	}
	numbers := make([]int, 3)
	for i, digits := range [][]byte{start[1], ends[1], ends[2]} {
		if numbers[i], err = strconv.Atoi(string(digits)); err != nil {
			return nil, 0, 0, err
		}
	}
	table := numbers[0]
	lines := bytes.SplitN(drawn[table:], []byte("\n"), 3)
	var count int
	if len(lines) != 3 || string(lines[0]) != "xref" {
		return nil, 0, 0, errors.New("no table of objects was drawn")
	}
	if _, err := fmt.Sscanf(string(lines[1]), "0 %d", &count); err != nil || len(lines[2]) < count*entryLength || count < 2 {
		return nil, 0, 0, errors.New("the table of objects is short")
	}
	for n := 1; n < count; n++ {
		offset, err := strconv.Atoi(string(lines[2][n*entryLength : n*entryLength+10]))
		head := fmt.Appendf(nil, "%d 0 obj\n", n)
		if err != nil || offset > table || !bytes.HasPrefix(drawn[offset:], head) {
			return nil, 0, 0, fmt.Errorf("object %d is not where it was drawn", n)
		}
		body := drawn[offset+len(head) : table]
		end, err := endOf(body)
		if err != nil {
			return nil, 0, 0, fmt.Errorf("object %d: %w", n, err)
		}
		objects = append(objects, body[:end:end])
	}
	if root := numbers[1]; root < 1 || root > len(objects) {
		return nil, 0, 0, errors.New("the root is no object")
	}
	return objects, numbers[1], numbers[2], nil
}

var streamHead = regexp.MustCompile(`/Length ([0-9]+)\b`)

// endOf is the length of an object. A stream is passed over by its length: it may hold any bytes.
func endOf(body []byte) (int, error) {
	const end = "\nendobj\n"
	stream, ended := bytes.Index(body, []byte("\nstream\n")), bytes.Index(body, []byte(end))
	from := 0
	if stream >= 0 && stream < ended {
		length := streamHead.FindSubmatch(body[:stream])
		if length == nil {
			return 0, errors.New("a stream without length")
		}
		n, err := strconv.Atoi(string(length[1]))
		if from = stream + len("\nstream\n") + n; err != nil || from > len(body) {
			return 0, errors.New("a stream is longer than the document")
		}
	}
	at := bytes.Index(body[from:], []byte(end))
	if at < 0 {
		return 0, errors.New("it does not end")
	}
	return from + at + len(end), nil
}

func assemble(objects [][]byte, root, info int) []byte {
	out := []byte(attest.PDFHeader)
	var table []byte
	for n, o := range objects {
		table = fmt.Appendf(table, "%010d 00000 n \n", len(out))
		out = fmt.Appendf(out, "%d 0 obj\n", n+1)
		out = append(out, o...)
	}
	id := sha256.Sum256(out)
	start := len(out)
	out = fmt.Appendf(out, "xref\n0 %d\n0000000000 65535 f \n%s", len(objects)+1, table)
	return fmt.Appendf(out, "trailer\n<< /Size %d /Root %d 0 R /Info %d 0 R /ID [<%x> <%x>] >>\nstartxref\n%d\n%s", len(objects)+1, root, info, id[:16], id[:16], start, attest.PDFEnd)
}
