package attest

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// The values of a PDF object, as far as pages have them (ISO 32000-1, 7.3).
type (
	pdfName   string
	pdfNumber string
	pdfString string // decoded
	pdfRef    int    // of generation 0
	pdfArray  []any
	pdfDict   map[pdfName]any
)

// pdfKeys are all keys that the dictionaries of a page have. There are no annotations, forms,
// actions, layers or object streams among them.
var pdfKeys = strings.Fields(`Type Subtype Pages Kids Count Parent MediaBox Resources Contents ProcSet Font XObject ExtGState Lang AF Names EmbeddedFiles
	ViewerPreferences DisplayDocTitle F UF EF AFRelationship Desc Filter Length Length1 Params CheckSum Size BaseFont Encoding DescendantFonts ToUnicode
	CIDSystemInfo FontDescriptor DW W CIDToGIDMap Registry Ordering Supplement FontName Ascent Descent CapHeight Flags FontBBox ItalicAngle StemV
	MissingWidth FontFile2 Width Height ColorSpace BitsPerComponent DecodeParms Predictor Colors Columns Producer Title Subject Author Keywords Creator
	CreationDate ModDate Root Info ID`)

// pdfActive are keys and names by which a document acts when it is opened, or shows something over its pages.
var pdfActive = strings.Fields(`JavaScript JS OpenAction AA A Launch RichMedia URI GoTo GoToR GoToE SubmitForm ImportData Named Movie Sound Rendition
	Annots Annot AcroForm XFA Widget Collection OCProperties Requirements`)

// isResource: the keys of resource dictionaries are a letter and a number or a hash.
func isResource(key string) bool {
	return len(key) > 1 && strings.Trim(key[1:], "0123456789abcdef") == "" && strings.Contains("FIG", key[:1])
}

const maxPDFDepth = 8

// pdfReader reads values. It looks at each byte once.
type pdfReader struct {
	data []byte
	at   int
}

func (r *pdfReader) space() {
	for r.at < len(r.data) && (r.data[r.at] == ' ' || r.data[r.at] == '\n') {
		r.at++
	}
}

// take passes over what must come next.
func (r *pdfReader) take(s string) bool {
	if !bytes.HasPrefix(r.data[r.at:], []byte(s)) {
		return false
	}
	r.at += len(s)
	return true
}

func (r *pdfReader) dict(depth int) (pdfDict, error) {
	if depth > maxPDFDepth || !r.take("<<") {
		return nil, notPDF(PDFNotOurs, "an object is no dictionary")
	}
	d := pdfDict{}
	for {
		r.space()
		if r.take(">>") {
			return d, nil
		}
		key, err := r.name()
		if err != nil {
			return nil, err
		}
		if _, twice := d[key]; twice || !slices.Contains(pdfKeys, string(key)) && !isResource(string(key)) {
			return nil, notPDF(PDFNotOurs, "a dictionary has %q, or has it twice", key)
		}
		r.space()
		if d[key], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
}

func (r *pdfReader) value(depth int) (any, error) {
	if depth > maxPDFDepth || r.at >= len(r.data) {
		return nil, notPDF(PDFNotOurs, "an object ends early, or never")
	}
	switch c := r.data[r.at]; {
	case bytes.HasPrefix(r.data[r.at:], []byte("<<")):
		return r.dict(depth)
	case c == '/':
		return r.name()
	case c == '[':
		return r.array(depth)
	case c == '(':
		return r.literal()
	case c == '<':
		return r.hex()
	case r.take("true"):
		return true, nil
	}
	return r.number()
}

// name reads a name of plain characters: an escaped one could hide what it is.
func (r *pdfReader) name() (pdfName, error) {
	if !r.take("/") {
		return "", notPDF(PDFNotOurs, "a name is missing")
	}
	if r.take("application#2Fjson") {
		return "application/json", nil
	}
	from := r.at
	for r.at < len(r.data) && isNameByte(r.data[r.at]) {
		r.at++
	}
	name := pdfName(r.data[from:r.at])
	switch {
	case slices.Contains(pdfActive, string(name)):
		return "", notPDF(PDFActive, "it has /%s, by which a document acts when it is opened", name)
	case name == "" || r.at < len(r.data) && !strings.ContainsRune(" \n/[]<>()", rune(r.data[r.at])):
		return "", notPDF(PDFNotOurs, "a name is not plain")
	}
	return name, nil
}

func isNameByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("._+-", c) >= 0
}

func (r *pdfReader) array(depth int) (any, error) {
	r.at++
	list := pdfArray{}
	for {
		r.space()
		if r.take("]") {
			return list, nil
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

// literal reads a string in parentheses; those inside it are escaped.
func (r *pdfReader) literal() (any, error) {
	var s []byte
	for r.at++; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; c {
		case ')':
			r.at++
			return pdfString(s), nil
		case '(':
			return nil, notPDF(PDFNotOurs, "a string has a bare parenthesis")
		case '\\':
			if r.at++; r.at >= len(r.data) {
				return nil, notPDF(PDFNotOurs, "a string ends early")
			}
			plain := strings.IndexByte(`()\r`, r.data[r.at])
			if plain < 0 {
				return nil, notPDF(PDFNotOurs, "a string has an unknown escape")
			}
			s = append(s, "()\\\r"[plain])
		default:
			s = append(s, c)
		}
	}
	return nil, notPDF(PDFNotOurs, "a string has no end")
}

func (r *pdfReader) hex() (any, error) {
	end := bytes.IndexByte(r.data[r.at:], '>')
	if end < 0 {
		return nil, notPDF(PDFNotOurs, "a string has no end")
	}
	s := string(r.data[r.at+1 : r.at+end])
	if strings.Trim(s, "0123456789abcdef") != "" {
		return nil, notPDF(PDFNotOurs, "a string is not hexadecimal")
	}
	r.at += end + 1
	return pdfString(s), nil
}

// number reads a number, or a reference to an object, which is two of them and an R.
func (r *pdfReader) number() (any, error) {
	n, ok := r.digits()
	if !ok {
		return nil, notPDF(PDFNotOurs, "a value is none that pages have")
	}
	if object, err := strconv.Atoi(string(n)); err == nil && r.take(" 0 R") {
		return pdfRef(object), nil
	}
	return n, nil
}

func (r *pdfReader) digits() (pdfNumber, bool) {
	from := r.at
	for r.at < len(r.data) && (r.data[r.at] >= '0' && r.data[r.at] <= '9' || r.data[r.at] == '.' || r.data[r.at] == '-') {
		r.at++
	}
	return pdfNumber(r.data[from:r.at]), r.at > from
}
