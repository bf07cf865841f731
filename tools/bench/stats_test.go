package main

import (
	"slices"
	"testing"
)

func TestMedians(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   Stat
	}{
		{"none", nil, Stat{}},
		{"one", []float64{3}, Stat{3, 3, 3}},
		{"odd", []float64{9, 1, 2}, Stat{2, 1, 9}},
		{"even", []float64{4, 1, 100, 2}, Stat{3, 1, 100}},
	} {
		before := slices.Clone(c.values)
		if got := statOf(c.values); got != c.want || !slices.Equal(before, c.values) {
			t.Errorf("%s: %+v, want %+v; values are %v now", c.name, got, c.want, c.values)
		}
	}
	if r := ratio(Stat{Median: 6}, Stat{Median: 2}); r == nil || *r != 3 {
		t.Errorf("ratio %v", r)
	}
	if r := ratio(Stat{Median: 6}, Stat{}); r != nil {
		t.Errorf("a ratio to nothing is %v", *r)
	}
}

// Who goes first has an empty cache and an idle machine: each must, equally often.
func TestTurns(t *testing.T) {
	const n = 7
	var at [n][n]int // program, place
	for round := range n * 3 {
		order := turns(n, round)
		for place, program := range order {
			at[program][place]++
		}
	}
	for program := range at {
		for place, times := range at[program] {
			if times != 3 {
				t.Errorf("program %d was in place %d %d times of %d", program, place, times, n*3)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	var v [3]int64
	if n := numbers([]byte("   12        0  9007199254740993\n"), v[:]); n != 3 || v != [3]int64{12, 0, 9007199254740993} {
		t.Errorf("%d numbers: %v", n, v)
	}
	if n := numbers([]byte("1 2 3 4"), v[:]); n != 3 || v != [3]int64{1, 2, 3} {
		t.Errorf("more than there is room for: %d, %v", n, v)
	}
}

// A row that is void must neither be told as a figure nor pass the quick run.
func TestRowsAndProblems(t *testing.T) {
	o, err := parse([]string{"-quick", "-drives", "1", "-skip", "sim"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	for _, pass := range passes {
		rows := []Row{
			{Pass: pass, Drives: 1, Bytes: 2e9, Tool: engineName, Clock: byProcess, Samples: []Sample{{1, 9, 0.5, 2e9}, {2, 9, 1, 2e9}, {4, 9, 4, 2e9}}},
			{Pass: pass, Drives: 1, Bytes: 2e9, Tool: productName, Clock: byProcess, Samples: []Sample{{4, 9, 4, 2e9}}},
			{Pass: pass, Drives: 1, Bytes: 2e9, Tool: "sleeper", Clock: byDrives, Samples: []Sample{{100, 8, 8, 0}}},
		}
		finish(rows)
		engine, sleeper := rows[0], rows[2]
		if engine.GBps != (Stat{1, 0.5, 2}) || engine.CPU != (Stat{0.5, 0.25, 2}) || engine.OursFaster != nil || !engine.Overwritten {
			t.Errorf("%+v", engine)
		}
		if sleeper.GBps.Median != 0.25 || *sleeper.OursFaster != 4 || *sleeper.OursLessCPU != 8 || (sleeper.Note != "") != (pass == Verify) {
			t.Errorf("%+v: %v %v", sleeper, *sleeper.OursFaster, *sleeper.OursLessCPU)
		}
		r.Rows = append(r.Rows, rows...)
	}
	if p := r.problems(o); len(p) != 0 {
		t.Errorf("problems of a good report: %v", p)
	}
	missing := r
	missing.Rows = slices.Clone(r.Rows[1:])
	if p := missing.problems(o); len(p) != 1 {
		t.Errorf("without a row of the engine: %v", p)
	}
	unproven := r
	unproven.Rows = slices.Clone(r.Rows)
	unproven.Rows[0].Overwritten = false
	if p := unproven.problems(o); len(p) != 1 {
		t.Errorf("with a row of the engine of which nothing is known: %v", p)
	}
	void := r
	void.Rows = slices.Clone(r.Rows)
	void.Rows[2].Void = "it did not write"
	if p := void.problems(o); len(p) != 1 {
		t.Errorf("with a void row: %v", p)
	}
}
