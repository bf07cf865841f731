package boot

import (
	"testing"
	"time"
)

// What has passed is told by the host's own running, never by a clock that can be set; what is not known is no time at all.
func TestSince(t *testing.T) {
	for _, c := range []struct {
		from, to Moment
		least    time.Duration
		known    bool
	}{
		{Moment{"a", time.Hour}, Moment{"a", 3 * time.Hour}, 2 * time.Hour, true},
		{Moment{"a", 3 * time.Hour}, Moment{"a", time.Hour}, 0, true}, // somebody wrote it
		{Moment{"a", 90 * time.Hour}, Moment{"b", time.Minute}, time.Minute, false},
		{Moment{}, Moment{"b", time.Hour}, 0, false},
		{Moment{"a", time.Hour}, Moment{}, 0, false},
		{Moment{"", time.Hour}, Moment{"", 2 * time.Hour}, 0, false},
	} {
		if least, known := c.to.Since(c.from); least != c.least || known != c.known {
			t.Errorf("from %+v to %+v: %s, %v", c.from, c.to, least, known)
		}
	}
}

func TestNowGoesOn(t *testing.T) {
	first := Now()
	if first.ID == "" || first.Up <= 0 {
		t.Fatalf("%+v", first)
	}
	if passed, known := Now().Since(first); !known || passed < 0 {
		t.Errorf("%s, %v", passed, known)
	}
}
