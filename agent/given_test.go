package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// What people say of drives is certified word for word, for each drive its own, and nothing is made up for those of
// which nothing is said.
func TestGivenIsCertifiedWordForWord(t *testing.T) {
	s := newSite(t)
	for _, serial := range []string{"A", "B", "C"} {
		s.add(virtual.Spec{Profile: "plain", Serial: serial, SizeBytes: small})
	}
	file := "operator:\n  name: Zoë Ŝmith\n  contact: \"+44 1 <x&y>\"\nlot: 0042\ncustody: CoC/7\n" +
		"drives:\n  A:\n    asset-tag: ЖТ-1\n    lot: L-A\n    source: 山田's laptop\n  B:\n    destination: external reuse\n"
	given, err := sanitize.ParseGiven([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	p := s.plan(sanitize.Request{Method: sanitize.Clear, Given: &given}, "A", "B")
	job, err := s.agent.Start(t.Context(), p, Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	who := &attest.Person{Name: "Zoë Ŝmith", Contact: "+44 1 <x&y>"}
	wanted := map[string]attest.Given{
		"A": {Operator: who, Lot: "L-A", Custody: "CoC/7", AssetTag: "ЖТ-1", Source: "山田's laptop"},
		"B": {Operator: who, Lot: "0042", Custody: "CoC/7", Destination: "external reuse"},
	}
	for _, r := range job.Drives {
		is, _ := json.Marshal(s.certified(r).Given)
		want, _ := json.Marshal(wanted[r.Drive.Serial])
		if !bytes.Equal(is, want) {
			t.Errorf("%s: %s; given was %s", r.Drive.Serial, is, want)
		}
	}
	if r := s.certified(s.run(s.plan(sanitize.Request{}, "C"))); r.Given != nil {
		t.Errorf("nothing was given, and %+v is certified", r.Given)
	}
}

// What could not be signed, or is said of nobody, is refused before anything is planned.
func TestGivenIsRefusedInTime(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Profile: "plain", Serial: "A", SizeBytes: small})
	s.add(virtual.Spec{Profile: "plain", Serial: "B", SizeBytes: small})
	for name, g := range map[string]sanitize.GivenRequest{
		"of another drive":      {Drives: map[string]sanitize.Given{"X": {Lot: "1"}}},
		"right to left":         {Given: sanitize.Given{Notes: "a\u202eb"}},
		"zero width":            {Given: sanitize.Given{Lot: "a\u200bb"}},
		"a control character":   {Given: sanitize.Given{Ticket: "a\x1b[2J"}},
		"two lines":             {Given: sanitize.Given{Ticket: "a\nb"}},
		"not UTF-8":             {Given: sanitize.Given{Site: "a\xff"}},
		"too long":              {Given: sanitize.Given{Notes: strings.Repeat("x", 501)}},
		"an unknown word":       {Given: sanitize.Given{Destination: "the sea"}},
		"nobody":                {Given: sanitize.Given{Operator: &sanitize.Person{Title: "chief"}}},
		"one tag of two drives": {Given: sanitize.Given{AssetTag: "1"}},
		"in one of them":        {Drives: map[string]sanitize.Given{"B": {Seal: "\u2066"}}},
	} {
		_, err := s.agent.Plan(t.Context(), []string{"A", "B"}, sanitize.Request{Given: &g})
		var request *sanitize.RequestError
		if !errors.As(err, &request) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "lot: 1\nlto: 2\n", "lot: 1\nlot: 2\n", "drives:\n  A:\n    nobody: x\n", "lot: &x 1\n", "- lot\n", "lot: [1]\n", "lot: 1\n---\nlot: 2\n"} {
		if g, err := sanitize.ParseGiven([]byte(text)); err == nil {
			t.Errorf("%q is taken: %+v", text, g)
		}
	}
}

// A plan whose words were changed after somebody confirmed them is another plan, and one that was made by hand is
// not begun when its words cannot be signed.
func TestForgedGivenIsRefused(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Profile: "plain", Serial: "A", SizeBytes: small})
	p := s.plan(sanitize.Request{Given: &sanitize.GivenRequest{Given: sanitize.Given{AssetTag: "TAG-1"}}}, "A")
	data, err := sanitize.MarshalPlan(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sanitize.ParsePlan(bytes.ReplaceAll(data, []byte("TAG-1"), []byte("TAG-2"))); !errors.Is(err, sanitize.ErrPlanEdited) {
		t.Errorf("an edited plan: %v", err)
	}
	forged := p
	forged.Drives = slices.Clone(p.Drives)
	forged.Drives[0].Given = &sanitize.Given{AssetTag: "\u202e1-GAT"}
	var refused *RefusedError
	if _, err := s.agent.Start(t.Context(), forged, Started{}, Observer{}); !errors.As(err, &refused) {
		t.Errorf("a plan with words that cannot be signed: %v", err)
	}
	if holds(t, s.rack, "A") == 0 {
		t.Error("the drive was touched")
	}
}
