package sanitize

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
)

func plan(t testing.TB) Plan {
	p, err := PolicyByName("")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return Plan{Schema: PlanSchema, ID: "x", Created: now, Expires: now.Add(PlanLifetime), Agent: "v", Host: "h",
		Policy: p.Ref(), Drives: []DrivePlan{choose(t, Request{})}, Refused: []Refused{}}
}

// A plan survives its file; an edit of any byte of it does not.
func TestPlanFile(t *testing.T) {
	p := plan(t)
	data, err := MarshalPlan(p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParsePlan(data)
	if err != nil || got.Digest() != p.Digest() {
		t.Fatalf("%v", err)
	}
	for i := range data {
		edited := bytes.Clone(data)
		edited[i] ^= 1
		if got, err := ParsePlan(edited); err == nil && got.Digest() != p.Digest() {
			t.Fatalf("byte %d edited and accepted", i)
		}
	}
	if !p.Confirms(p.Digest()) || !p.Confirms("sha256:"+strings.ToUpper(p.Digest()[:12])) {
		t.Error("the digest does not confirm")
	}
	for _, typed := range []string{"", " ", p.Digest()[:11], p.Digest() + "0", p.Digest()[1:], "yes"} {
		if p.Confirms(typed) {
			t.Errorf("%q confirms", typed)
		}
	}
}

// Ids name directories: a plan made by hand must not reach out of its job.
func TestPlanWithBadDrives(t *testing.T) {
	for name, change := range map[string]func(*Plan){
		"path":      func(p *Plan) { p.Drives[0].ID = "../../x" },
		"empty":     func(p *Plan) { p.Drives[0].ID = "" },
		"uppercase": func(p *Plan) { p.Drives[0].ID = devices.ID(strings.ToUpper(string(p.Drives[0].ID))) },
		"twice":     func(p *Plan) { p.Drives = append(p.Drives, p.Drives[0]) },
	} {
		p := plan(t)
		change(&p)
		data, err := MarshalPlan(p)
		if err != nil {
			t.Fatal(err)
		}
		var format *PlanFormatError
		if _, err := ParsePlan(data); !errors.As(err, &format) {
			t.Errorf("%s: read: %v", name, err)
		}
		if err := p.Usable("h", false, p.Created); !errors.As(err, &format) {
			t.Errorf("%s: used: %v", name, err)
		}
	}
}

func TestUsable(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Plan)
		later  time.Duration
		want   error
	}{
		"fresh":                {func(*Plan) {}, time.Hour, nil},
		"old":                  {func(*Plan) {}, 25 * time.Hour, ErrPlanExpired},
		"of tomorrow":          {func(*Plan) {}, -2 * time.Hour, ErrPlanExpired},
		"immortal":             {func(p *Plan) { p.Expires = p.Expires.Add(1e6 * time.Hour) }, time.Hour, ErrPlanExpired},
		"another host":         {func(p *Plan) { p.Host = "other" }, 0, ErrPlanForeign},
		"simulated":            {func(p *Plan) { p.Simulated = true }, 0, ErrPlanForeign},
		"another policy":       {func(p *Plan) { p.Policy.SHA256 = "0" }, 0, ErrPlanChanged},
		"policy of the future": {func(p *Plan) { p.Policy.Name = "x" }, 0, ErrPlanChanged},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan(t)
			created := p.Created
			c.change(&p)
			if err := p.Usable("h", false, created.Add(c.later)); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

func FuzzParsePlan(f *testing.F) {
	data, err := MarshalPlan(plan(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePlan(data)
		if err != nil {
			return
		}
		again, err := MarshalPlan(p)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := ParsePlan(again); err != nil || q.Digest() != p.Digest() {
			t.Fatalf("%v", err)
		}
	})
}
