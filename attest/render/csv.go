package render

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
)

// ErrEmpty: a register of nothing is refused, since it would look as if there were nothing to be
// registered.
var ErrEmpty = errors.New("there is no certificate to export")

// CSV is a register of certificates for other programs: RFC 4180, one row for each. Cells that a spreadsheet
// would run as a formula begin with an apostrophe.
func CSV(forms []*Form) ([]byte, error) {
	if len(forms) == 0 {
		return nil, ErrEmpty
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	w.UseCRLF = true
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = c.name
	}
	if err := w.Write(cells); err != nil {
		return nil, fmt.Errorf("write CSV: %w", err)
	}
	for _, f := range forms {
		for i, c := range columns {
			cells[i] = inert(plainText(c.value(f, f.result())))
		}
		if err := w.Write(cells); err != nil {
			return nil, fmt.Errorf("write CSV: %w", err)
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return nil, fmt.Errorf("write CSV: %w", err)
	}
	return out.Bytes(), nil
}

// inert keeps spreadsheets from taking a cell for a formula.
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
