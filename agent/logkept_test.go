package agent

import (
	"os"
	"testing"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// Where nobody noted how far the log was, the journals tell: also of intents that other processes log after this one has looked, and of
// jobs whose journals are gone since.
func TestJournalsTellHowFarTheLogWas(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "ONE", SizeBytes: small})
	s.add(virtual.Spec{Serial: "TWO", SizeBytes: small})
	var files []string
	var told []int64
	for _, serial := range []string{"ONE", "TWO"} {
		j, err := s.agent.Start(t.Context(), s.plan(sanitize.Request{}, serial), Started{}, Observer{})
		if err != nil || j.Drives[0].Outcome != sanitize.Sanitized {
			t.Fatalf("%s: %v, %v", serial, j.Drives, err)
		}
		files = append(files, s.agent.JournalOf(j.ID, j.Drives[0].Drive))
		told = append(told, j.Drives[0].Logged())
	}
	if told[0] <= 0 || told[1] <= told[0] {
		t.Fatalf("the journals tell of %v entries", told)
	}
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	tells := func(when string, want int64) {
		t.Helper()
		if n, err := s.agent.logged(); n != want || err != nil {
			t.Errorf("%s: %d entries, %v; want %d", when, n, err, want)
		}
	}
	move(files[1], files[1]+".away")
	tells("the second drive's journal has not begun", told[0])
	move(files[1]+".away", files[1])
	tells("it has", told[1])
	move(files[1], files[1]+".away")
	tells("it is gone", told[1])

	if err := os.Remove(s.agent.logMark()); err != nil {
		t.Fatal(err)
	}
	log, err := s.agent.issuer()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.agent.logGoesOn(log.Log); err != nil {
		t.Errorf("the log is as it was: %v", err)
	}
	move(s.agent.LogDir(), s.agent.LogDir()+".away")
	if err := s.agent.ready(1); err == nil {
		t.Error("the log is gone, and a job could begin")
	}
}
