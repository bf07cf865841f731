package agent

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/attest/attesttest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// formats are the requests of both kinds of NVMe formats, and the CDW10 that they are sent with.
var formats = []struct {
	technique sanitize.Technique
	cdw10     uint32
}{{sanitize.Format, 1 << 9}, {sanitize.CryptographicFormat, 2 << 9}}

// A controller that is reset in the middle of a format ends it. The job says so and stops; the next
// attempt finds everything as it was planned, and sends another.
func TestFormatEndedByAReset(t *testing.T) {
	for _, x := range formats {
		t.Run(x.technique.Word(), func(t *testing.T) {
			s, _ := newTimed(t)
			s.add(virtual.Spec{Profile: "nvme-format", Serial: "A", SizeBytes: 2 << 20, SecondNamespace: true, AttachAll: true})
			s.fault("A", "format-reset:40")
			p := s.plan(sanitize.Request{Technique: x.technique}, "A")
			r := s.run(p)
			want(t, r, sanitize.Interrupted, "no answer came to the command")
			word := fmt.Sprintf("80:%08x", x.cdw10)
			if got := s.begun(); !slices.Equal(got, []string{word}) {
				t.Fatalf("begun in the first attempt: %q", got)
			}
			if s.held() == 0 {
				t.Fatal("the format was not ended in its middle: the test says nothing")
			}
			j, err := s.agent.Resume(t.Context(), jobName(p), Observer{})
			if err != nil {
				t.Fatal(err)
			}
			want(t, j.Drives[0], sanitize.Sanitized, "")
			if got := s.begun(); !slices.Equal(got, []string{word, word}) {
				t.Errorf("begun in both: %q", got)
			}
			if n := s.held(); n != 0 {
				t.Errorf("%d canaries are left", n)
			}
			report := s.verify(j.Drives[0])
			if report.Code != attest.CodeOK || report.Result.Sanitization.Operations[0].Code != "0x"+word[3:] {
				t.Fatalf("%d %v", report.Code, report.Reasons)
			}
			// To the schema, too, a format by the other's command contradicts itself.
			other := fmt.Sprintf("0x%08x", x.cdw10^3<<9)
			if err := attesttest.Validate("sanitization.v1.schema.json", bytes.ReplaceAll(s.statement(j.Drives[0]), []byte("0x"+word[3:]), []byte(other))); err == nil {
				t.Errorf("%s by %s fits the schema", x.technique, other)
			}
		})
	}
}

// statement is what the result's certificate has signed.
func (s *site) statement(r DriveResult) []byte {
	s.t.Helper()
	var c attest.Certificate
	data, err := os.ReadFile(r.Certificate)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(c.Result.Payload)
	if err != nil {
		s.t.Fatal(err)
	}
	return payload
}

// held is how many of the customer's blocks the host can still read from drive A.
func (s *site) held() int64 {
	s.t.Helper()
	m, err := s.rack.Medium("A")
	if err != nil {
		s.t.Fatal(err)
	}
	n, _, err := m.CountCanary(canary)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// changing is a node of a drive that is another after its controller was reset in a format.
type changing struct {
	devices.Transport
	format func(error) error // what came of a format
	page   func(cns uint8, page []byte)
}

func (c changing) NVMe(ctx context.Context, cmd *nvme.Command) (nvme.Completion, error) {
	done, err := c.Transport.NVMe(ctx, cmd)
	switch cmd.Opcode {
	case 0x80:
		err = c.format(err)
	case 0x06:
		c.page(uint8(cmd.CDW10), cmd.Data)
	}
	return done, err
}

// What a reset left is read before anything is concluded, and before another command: a drive whose
// namespaces, formats, scope or capacity are not those of the plan takes nothing more.
func TestResetThatChangesTheDrive(t *testing.T) {
	whole(t)
	for _, c := range []struct {
		name string
		page func(cns uint8, page []byte)
		// completed: the format itself ends well, and its answer arrives.
		completed bool
		said      string // as soon as it was reset
		later     string // by the next attempt
	}{
		{name: "a namespace is gone", said: "which the controller does not list", later: "which the controller does not list", page: func(cns uint8, page []byte) {
			if cns == 0x02 || cns == 0x10 {
				binary.LittleEndian.PutUint32(page[4:], 0)
			}
		}},
		{name: "a namespace is larger", said: "is Virtual NVMe Format A with 2 namespaces now", later: "bytes in blocks of 512", page: func(cns uint8, page []byte) {
			if (cns == 0x00 || cns == 0x11) && binary.LittleEndian.Uint64(page) == 1024 {
				page[0] = 8
			}
		}},
		{name: "metadata is part of the blocks", said: "formats of its namespaces", later: "CDW10 0x", page: func(cns uint8, page []byte) {
			if cns == 0x00 || cns == 0x11 {
				page[26] |= 1 << 4
			}
		}},
		{name: "one namespace has another format than the other", said: "formats of its namespaces", later: "different formats", page: func(cns uint8, page []byte) {
			if (cns == 0x00 || cns == 0x11) && binary.LittleEndian.Uint64(page) == 1024 {
				page[29] |= 1
			}
		}},
		{name: "formats reach the whole subsystem", said: "what a format reaches", later: "every namespace of the subsystem", page: func(cns uint8, page []byte) {
			if cns == 0x01 {
				page[524] |= 1 << 1
			}
		}},
		{name: "capacity belongs to no namespace", said: "unallocated capacity", later: "belong to no namespace", page: func(cns uint8, page []byte) {
			if cns == 0x01 {
				page[296+3] = 1
			}
		}},
		{name: "capacity, and the command was completed", completed: true, said: "unallocated capacity", later: "belong to no namespace", page: func(cns uint8, page []byte) {
			if cns == 0x01 {
				page[296+3] = 1
			}
		}},
	} {
		for _, x := range formats {
			t.Run(c.name+"/"+x.technique.Word(), func(t *testing.T) {
				s, clock := newTimed(t)
				s.add(virtual.Spec{Profile: "nvme-format", Serial: "A", SizeBytes: 1 << 20, SecondNamespace: true, AttachAll: true})
				if !c.completed {
					s.fault("A", "format-reset:40")
				}
				reset := false
				s.agent = s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
					tr, err := s.rack.Opener()(ctx, node, access)
					if err != nil {
						return tr, err
					}
					return changing{tr, func(err error) error {
						reset = true
						return err
					}, func(cns uint8, page []byte) {
						if reset && !bytes.Equal(page, make([]byte, len(page))) {
							c.page(cns, page)
						}
					}}, nil
				}, nil), clock)
				p := s.plan(sanitize.Request{Technique: x.technique}, "A")
				r := s.run(p)
				want(t, r, sanitize.Interrupted, c.said)
				if !errors.Is(r.Err, devices.ErrChanged) {
					t.Errorf("%v is not ErrChanged", r.Err)
				}
				j, err := s.agent.Resume(t.Context(), jobName(p), Observer{})
				if err != nil {
					t.Fatal(err)
				}
				if r := j.Drives[0]; r.Outcome != sanitize.Interrupted || !errors.Is(r.Err, sanitize.ErrPlanChanged) && c.said != c.later || !strings.Contains(r.Err.Error(), c.later) {
					t.Errorf("%s: %v, want %q", r.Outcome, r.Err, c.later)
				}
				if got := s.begun(); len(got) != 1 {
					t.Errorf("begun: %q", got)
				}
			})
		}
	}
}

// The answer to any command of a format job may be lost: what the format itself did is not claimed then
// before another was completed, and nothing else is sent twice.
func TestResetInEveryCommandOfAFormat(t *testing.T) {
	whole(t)
	for n, again := 1, 0; ; n++ {
		s, _ := newTimed(t)
		s.add(virtual.Spec{Profile: "nvme-format", Serial: "A", SizeBytes: 1 << 20})
		s.fault("A", fmt.Sprintf("reset:%d", n))
		p := s.plan(sanitize.Request{Technique: sanitize.CryptographicFormat}, "A")
		r := s.run(p)
		if r.Outcome == sanitize.Interrupted {
			again++
			j, err := s.agent.Resume(t.Context(), jobName(p), Observer{})
			if err != nil {
				t.Fatal(err)
			}
			r = j.Drives[0]
			if got := s.begun(); len(got) != 2 {
				t.Fatalf("reset in command %d: %q", n, got)
			}
		} else if got := s.begun(); len(got) != 1 {
			t.Fatalf("reset in command %d: %q", n, got)
		}
		want(t, r, sanitize.Sanitized, "")
		list, err := s.rack.Drives()
		if err != nil {
			t.Fatal(err)
		}
		if len(list[0].Faults) > 0 { // it did not happen any more
			if n < 20 || again != 1 {
				t.Errorf("a whole run has %d commands, %d of them were the format", n, again)
			}
			return
		}
	}
}

// Where a policy takes a format for purge, the drive's own blocks bear it out, and a drive that keeps its
// key is found out.
func TestFormatsThatPurge(t *testing.T) {
	whole(t)
	site, err := sanitize.ParsePolicy([]byte("policy: x\naccept: {format-crypto-is-purge: true}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r1 := sanitize.Request{Method: sanitize.Purge, Policy: "nist-800-88r1"}
	byFile := sanitize.Request{Method: sanitize.Purge, Policy: "x", PolicyFile: site.Ref().File}
	for _, c := range []struct {
		name  string
		r     sanitize.Request
		t     sanitize.Technique
		fault string
		want  sanitize.Outcome
	}{
		{"r1, the key", r1, sanitize.CryptographicFormat, "", sanitize.Sanitized},
		{"r1, user data", r1, sanitize.Format, "", sanitize.Sanitized},
		{"accepted, the key", byFile, sanitize.CryptographicFormat, "", sanitize.Sanitized},
		{"the key stays", byFile, sanitize.CryptographicFormat, "lie:nothing", sanitize.Unproven},
		{"nothing is begun", byFile, sanitize.CryptographicFormat, "lie:ignored", sanitize.Unproven},
		{"it fails", byFile, sanitize.CryptographicFormat, "sanitize-fail:40", sanitize.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newTimed(t)
			s.add(virtual.Spec{Profile: "nvme-format", Serial: "A", SizeBytes: 2 << 20, HiddenBytes: 64 << 10})
			before, err := s.rack.Medium("A")
			if err != nil {
				t.Fatal(err)
			}
			if c.fault != "" {
				s.fault("A", c.fault)
			}
			c.r.Technique = c.t
			r := s.run(s.plan(c.r, "A"))
			want(t, r, c.want, "")
			report := s.verify(r)
			m, err := s.rack.Medium("A")
			if err != nil {
				t.Fatal(err)
			}
			a, h, err := m.CountCanary(canary)
			if purged := c.want == sanitize.Sanitized; err != nil || (a+h == 0) != purged || (report.Code == attest.CodeOK) != purged || (report.Result.Outcome.Method == "purge") != purged {
				t.Errorf("%d canaries, %d hidden, %v; certificate %d %v", a, h, err, report.Code, report.Reasons)
			}
			if keyed := c.t == sanitize.CryptographicFormat && c.want == sanitize.Sanitized; bytes.Equal(m.Key(), before.Key()) == keyed {
				t.Errorf("another key: %v", !keyed)
			}
		})
	}
}
