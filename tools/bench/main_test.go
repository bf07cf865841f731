package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// A part that ends before its time has answered what it had; half an answer is none, and no part of one
// answer shows through the next.
func TestTheLastWholeAnswerCounts(t *testing.T) {
	var got Report
	n, err := last(json.NewDecoder(strings.NewReader(`{"rows":[{"tool":"a","void":"why"}]} {"rows":[{"tool":"b"},{"tool":"c"}]} {"rows":[{"to`)), &got)
	if n != 2 || err == nil {
		t.Errorf("%d answers, %v", n, err)
	}
	if len(got.Rows) != 2 || got.Rows[0].Tool != "b" || got.Rows[0].Void != "" {
		t.Errorf("%+v", got.Rows)
	}
	if n, err := last(json.NewDecoder(strings.NewReader(`{"rows":[]}`)), &got); n != 1 || err != nil {
		t.Errorf("%d answers, %v", n, err)
	}
}

// The report for people names every row, whatever became of it, and what was not measured.
func TestReportNamesEverything(t *testing.T) {
	r := Report{
		Command: []string{"bench"}, Missing: []string{"scrub"}, Skipped: []string{"loop devices: they need root"}, Versions: map[string]string{"fio": "fio-9"},
		Rows:  []Row{{Pass: Zeros, Drives: 2, Bytes: 8 << 20, Tool: "one", Clock: byDrives, GBps: Stat{1.25, 1, 2}}, {Pass: Zeros, Drives: 2, Bytes: 8 << 20, Tool: "other", Void: "it lied"}},
		Hosts: []SimRow{{Host: "many", Share: Stat{0.97, 0.951, 1}}, {Host: "none", Void: "broken"}},
	}
	var b strings.Builder
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for _, words := range [][]string{
		{"without rows", "scrub"}, {"not measured", "need root"}, {"fio: fio-9"}, {"zeros, 2 × 4 MiB"},
		{"one *", "1.25", "1.00–2.00"}, {"other: VOID: it lied"}, {"many", "0.951", "0.970"}, {"none", "VOID: broken"},
	} {
		if !slices.ContainsFunc(lines, func(l string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(l, w) })
		}) {
			t.Errorf("no line with %q in\n%s", words, &b)
		}
	}
}
