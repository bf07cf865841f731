package main

import (
	"errors"
	"io"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
)

func TestFigures(t *testing.T) {
	var values []float64
	for n := range 200 {
		values = append(values, float64(200-n))
	}
	if f := figure("many", "ms", values...); f.P99 != 198 || f.Median != 100.5 || f.N != 200 {
		t.Errorf("%+v", f)
	}
	if f := figure("few", "ms", 1, 2, 3); f.P99 != 0 {
		t.Errorf("a 99th percentile of three: %+v", f)
	}
	var b strings.Builder
	if err := figures(&b, []Figure{figure("good", "ms", 1.5), {What: "bad", Void: "why"}}); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); !strings.Contains(text, "1.5 ms") || !strings.Contains(text, "bad  ") || !strings.Contains(text, "VOID: why") {
		t.Error(text)
	}
	void := Report{Agent: []Figure{{What: "bad", Void: "why"}}}
	if p := void.problems(Options{Agent: true}); len(p) != 1 {
		t.Errorf("problems: %v", p)
	}
	if p := (Report{}).problems(Options{Agent: true}); len(p) != 1 {
		t.Errorf("without a figure: %v", p)
	}
}

// A watcher who has not heard everything is noticed, wherever it was lost.
func TestWatchersWhoMissSomething(t *testing.T) {
	const (
		one  = "id: 1.AQ\nevent: record\ndata: {\"type\":\"record\",\"serial\":\"A\",\"seq\":1}\n\n"
		two  = "event: record\ndata: {\"type\":\"record\",\"serial\":\"A\",\"seq\":2}\n\n"
		told = ": alive\n\nevent: progress\ndata: {}\n\n"
		end  = "event: drive\ndata: {}\n\n"
		last = "event: job\ndata: {}\n\n"
	)
	all := map[string]int64{"A": 2}
	heard := func(text string) *watcher {
		w := &watcher{events: io.NopCloser(strings.NewReader(text)), records: map[string]int64{}}
		w.err = w.listen(new(atomic.Int64))
		return w
	}
	whole := one + told + two + told + end + last
	c := &crowd{list: []*watcher{heard(whole), heard(whole), heard(one + told + two + end + last), heard(whole)}}
	if share, err := c.missed(all); err != nil || share != 7.0/8 {
		t.Errorf("all have heard all but one of progress: %v, %v", share, err)
	}
	for name, text := range map[string]string{
		"nothing": "", "the first record": two + told + end + last, "the last record": one + told + end + last, "a record twice": one + one + two + told + end + last,
		"the drive's end": one + two + told + last, "the job's end": one + two + told + end, "a problem": one + two + told + end + "event: problem\ndata: {}\n\n",
	} {
		c := &crowd{list: []*watcher{heard(whole), heard(text)}}
		if _, err := c.missed(all); err == nil {
			t.Errorf("%s: nothing was noticed", name)
		}
	}
	more := maps.Clone(all)
	more["B"] = 1
	if _, err := (&crowd{list: []*watcher{heard(whole)}}).missed(more); err == nil {
		t.Error("nobody heard of a drive, and nothing was noticed")
	}
	if w := heard(one + two); !errors.Is(w.err, io.EOF) {
		t.Errorf("a stream that was cut: %v", w.err)
	}
}
