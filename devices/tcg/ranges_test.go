package tcg

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// locking answers Next, LockingInfo and the rows of a Locking table.
func locking(words bool, maxRanges int, rows []string, row func(uid string) string) func(string) []byte {
	return func(sent string) []byte {
		object := sent[4:20]
		switch {
		case strings.HasPrefix(object, "00000801"):
			name := "04"
			if words {
				name = "A9 4D617852616E676573"
			}
			return x(fmt.Sprintf("F0 F0 F2 %s 82%04X F3 F1 F1"+ok, name, maxRanges))
		case object == "0000080200000000":
			list := ""
			for _, r := range rows {
				list += "A8" + r
			}
			return x("F0 F0" + list + "F1 F1" + ok)
		}
		return x(row(object) + ok)
	}
}

func opalRow(uid string) string {
	key := "0000080600000001"
	if uid != "0000080200000001" {
		key = "00000806" + uid[8:]
	}
	return "F0 F0 F2 03 00 F3 F2 04 820800 F3 F2 05 01 F3 F2 06 01 F3 F2 07 01 F3 F2 08 00 F3 F2 09 F0 00 F1 F3 F2 0A A8" + key + "F3 F1 F1"
}

func TestReadRanges(t *testing.T) {
	d := discovered(t, featTPer, featLocking, featOpal2)
	rows := []string{"0000080200000001", "0000080200030001", "0000080200030002"}
	p := &tper{answer: locking(false, 2, rows, opalRow)}
	s := opened(t, p, d, LockingSP, Admin1)
	list, err := s.ReadRanges(t.Context())
	if err != nil || len(list) != 3 || !list[0].Global() || list[1] != (Range{UID: 0x0000080200030001, Length: 0x800, ReadLocked: true, ActiveKey: 0x0000080600030001}) {
		t.Fatalf("%+v, %v", list, err)
	}
	want(t, "Get", p.last(), "F8 A80000080200030002 A80000000600000016 F0 F0 F2 03 03 F3 F2 04 0A F3 F1 F1 F9 F0 00 00 00 F1")

	// A range that is left out keeps its key: every doubt is an error.
	for name, answer := range map[string]func(string) []byte{
		"one is missing":             locking(false, 3, rows, opalRow),
		"one too many":               locking(false, 1, rows, opalRow),
		"no global one":              locking(false, 1, rows[1:], opalRow),
		"one twice":                  locking(false, 2, []string{rows[0], rows[1], rows[1]}, opalRow),
		"a row of another table":     locking(false, 2, []string{rows[0], rows[1], "0000080300000001"}, opalRow),
		"none at all":                locking(false, 0, nil, opalRow),
		"a row that may not be read": locking(false, 2, rows, func(string) string { return "F0 F0 F1 F1" }),
		"a key that is none": locking(false, 2, rows, func(string) string {
			return "F0 F0 F2 03 00 F3 F2 04 00 F3 F2 07 00 F3 F2 08 00 F3 F2 0A 01 F3 F1 F1"
		}),
		"a lock that is neither": locking(false, 2, rows, func(uid string) string { return strings.Replace(opalRow(uid), "F2 07 01", "F2 07 02", 1) }),
		"a column twice": locking(false, 2, rows, func(uid string) string {
			return strings.Replace(opalRow(uid), "F2 07 01 F3", "F2 07 01 F3 F2 07 00 F3", 1)
		}),
	} {
		p := &tper{answer: answer}
		s := opened(t, p, d, LockingSP, Admin1)
		if list, err := s.ReadRanges(t.Context()); err == nil || list != nil {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
	}
}

func TestReadBands(t *testing.T) {
	var asked []string
	p := &tper{answer: locking(true, 2, nil, func(uid string) string {
		asked = append(asked, uid)
		return "F0 F0 F2 AA 52616E67655374617274 00 F3 F2 AB 52616E67654C656E677468 10 F3 F2 AA 526561644C6F636B6564 00 F3 F2 AB 57726974654C6F636B6564 01 F3 F1 F1"
	})}
	s := opened(t, p, discovered(t, featTPer, featLocking, featEnterprise), EnterpriseLockingSP, EraseMaster)
	list, err := s.ReadRanges(t.Context())
	if err != nil || len(list) != 3 || !list[0].Global() || !list[2].WriteLocked || list[2].Length != 16 ||
		!slices.Equal(asked, []string{"0000080200000001", "0000080200000002", "0000080200000003"}) {
		t.Fatalf("%+v, %v, %v", list, err, asked)
	}
}

// Methods are sent to what they are for, and to nothing else.
func TestOperationsInTheWrongPlace(t *testing.T) {
	opal, enterprise := discovered(t, featTPer, featLocking, featOpal2), discovered(t, featTPer, featLocking, featEnterprise)
	p := &tper{answer: answerAlways("F0 F1" + ok)}
	locking, admin, bands := opened(t, p, opal, LockingSP, Admin1), opened(t, p, opal, AdminSP, SID), opened(t, p, enterprise, EnterpriseLockingSP, EraseMaster)
	p.log = nil
	ctx := t.Context()
	for name, err := range map[string]error{
		"Revert in the Locking SP":   locking.Revert(ctx, AdminSP),
		"Activate in the Locking SP": locking.Activate(ctx),
		"GenKey in the Admin SP":     admin.GenKey(ctx, 0x0000080600000001),
		"GenKey of a range":          locking.GenKey(ctx, 0x0000080200000001),
		"GenKey of no key":           locking.GenKey(ctx, 0),
		"Erase of a range":           locking.Erase(ctx, Range{UID: globalRange}),
		"Erase of no band":           bands.Erase(ctx, Range{UID: 0x0000080600000001}),
	} {
		if err == nil {
			t.Error(name, "was sent")
		}
	}
	if len(p.log) > 0 {
		t.Error(p.log)
	}
}

func TestSIDTries(t *testing.T) {
	d := discovered(t, featTPer, featLocking, featOpal2)
	for answer, known := range map[string]bool{"F0 F0 F2 05 05 F3 F2 06 02 F3 F1 F1" + ok: true, "F0 F0 F1 F1" + ok: false, "F0 F1 F9 F0 01 00 00 F1": false, "F0 F0 F2 05 05 F3 F1 F1" + ok: false} {
		s := opened(t, &tper{answer: answerAlways(answer)}, d, AdminSP, Anybody)
		tries, limit, is, err := s.ReadSIDTries(t.Context())
		if err != nil || is != known || known && (tries != 2 || limit != 5) {
			t.Error(answer, tries, limit, is, err)
		}
	}
	s := opened(t, &tper{answer: answerAlways("F0 F0 F1 F1" + ok)}, d, AdminSP, Anybody)
	if _, err := s.ReadMSID(t.Context()); !errors.Is(err, errNoColumn) {
		t.Error("an MSID that was not told:", err)
	}
	if _, err := s.ReadLifeCycle(t.Context()); !errors.Is(err, errNoColumn) {
		t.Error("a life cycle that was not told:", err)
	}
}
