package attest

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// sanitizedNVMe is a result of a drive that erased itself, with everything that belongs to it.
func sanitizedNVMe(r *Result) {
	page := make([]byte, 512)
	page[2], page[3], page[4] = 1, 1, 2
	r.Device.Protocol = "nvme"
	r.Sanitization.Technique, r.Sanitization.Passes, r.Sanitization.BytesWritten = "block erase", []Pass{}, 0
	r.Sanitization.RestsOn = []string{"the drive's report"}
	r.Sanitization.Operations = []Operation{{Technique: "block erase", Kind: "NVMe Sanitize", Command: "NVMe Sanitize", Code: "0x00000002", Commands: 1,
		Started: "2026-01-02T03:04:05Z", Finished: "2026-01-02T03:05:05Z", Complete: true, Because: "it was seen running", StatusPage: PackPage(page)}}
	zero := int64(0)
	r.Sanitization.Commands = []Command{{Time: "2026-01-02T03:04:05Z", Name: "Sanitize", Bytes: "840000000000000002" + strings.Repeat("0", 46), Status: "successful completion", ElapsedMs: &zero}}
	r.Verification.Markers = &Markers{Set: 100, Changed: 100, Seed: hash("d"), PRNG: "aes"}
	r.HiddenAreas = []HiddenArea{{"boot partitions", "not sanitized", 1 << 20}, {"persistent memory region", "unknown", 0}, {"unallocated capacity", "absent", 0},
		{"over-provisioned and reallocated blocks", "sanitized", 0}}
	r.Given = &Given{Operator: &Person{Name: "Zoë"}, Destination: "recycling"}
	r.Evidence.BundleSHA256, r.Evidence.BundleBytes = hash("f"), 1000
}

// What a certificate says beside the outcome contradicts it nowhere, and is refused where it does.
func TestContentDoesNotContradictTheOutcome(t *testing.T) {
	spare := func(r *Result) *HiddenArea { return &r.HiddenAreas[3] }
	host := func(r *Result) {
		s := testResult("S", "j", Logged{Leaf: r.History.IntentLeaf})
		r.Device, r.Sanitization = s.Device, s.Sanitization
		r.Verification.Markers = nil
	}
	for name, change := range map[string]func(*Result){
		"":                              func(*Result) {},
		"a state that is none":          func(r *Result) { spare(r).State = "clean" },
		"a kind that is none":           func(r *Result) { spare(r).Kind = "spare" },
		"an area twice":                 func(r *Result) { r.HiddenAreas[0] = r.HiddenAreas[1] },
		"a size below nought":           func(r *Result) { r.HiddenAreas[0].Bytes = -1 },
		"what is absent has a size":     func(r *Result) { r.HiddenAreas[2].Bytes = 1 },
		"no spare blocks":               func(r *Result) { spare(r).State = "absent" },
		"spare blocks left":             func(r *Result) { spare(r).State = "not sanitized" },
		"spare blocks unknown":          func(r *Result) { spare(r).State = "unknown" },
		"boot partitions reached":       func(r *Result) { r.HiddenAreas[0].State = "sanitized" },
		"removed, and of the same size": func(r *Result) { r.HiddenAreas[0] = HiddenArea{"host protected area", "removed", 512} },
		"reached by a host":             host,
		"sanitized in a drive that failed": func(r *Result) {
			r.Outcome = Outcome{Status: "failed", Reason: "it failed", Exceptions: []Exception{}}
		},
		"a command that was not sent": func(r *Result) { r.Sanitization.Commands[0].Bytes = "80" + r.Sanitization.Commands[0].Bytes[2:] },
		"another action": func(r *Result) {
			r.Sanitization.Commands[0].Bytes = strings.Replace(r.Sanitization.Commands[0].Bytes, "02", "04", 1)
		},
		"a time that is none":         func(r *Result) { r.Sanitization.Commands[0].Time = "today" },
		"of another unit":             func(r *Result) { r.Sanitization.Commands[0].Unit = 1 },
		"no hex":                      func(r *Result) { r.Sanitization.Commands[0].Bytes = "SANITIZE" },
		"no status":                   func(r *Result) { r.Sanitization.Commands[0].Status = "" },
		"some left out for no reason": func(r *Result) { r.Sanitization.CommandsOmitted = 1 },
		"too many": func(r *Result) {
			for range maxCommands {
				r.Sanitization.Commands = append(r.Sanitization.Commands, r.Sanitization.Commands[0])
			}
		},
		"a page of another length": func(r *Result) {
			o := &r.Sanitization.Operations[0]
			o.StatusPage = PackPage(append(unpackPage(o.StatusPage), 0))
		},
		"a page that is none":            func(r *Result) { r.Sanitization.Operations[0].StatusPageBefore = "?" },
		"a bundle without its length":    func(r *Result) { r.Evidence.BundleBytes = 0 },
		"a length without a bundle":      func(r *Result) { r.Evidence.BundleSHA256 = "" },
		"nothing given":                  func(r *Result) { r.Given = &Given{} },
		"somebody without a name":        func(r *Result) { r.Given.Operator.Name = "" },
		"a destination that is none":     func(r *Result) { r.Given.Destination = "sold" },
		"a word that is not seen":        func(r *Result) { r.Given.Lot = "a\u202eb" },
		"two lines":                      func(r *Result) { r.Given.Notes = "a\nb" },
		"more than a form has room for":  func(r *Result) { r.Given.Notes = strings.Repeat("x", maxGiven+1) },
		"a condition that is none":       func(r *Result) { r.Given.Condition = "new" },
		"a backup that is perhaps there": func(r *Result) { r.Given.BackedUp = "perhaps" },
	} {
		r := testResult("S", "j", Logged{Leaf: hash("1")})
		sanitizedNVMe(&r)
		r.Time, r.Signers = Time{"2026-01-02T03:06:00Z", "host clock"}, []string{hash("2")}
		change(&r)
		if err := r.check(); (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A page comes back as it was, and no other text stands for it.
func TestPagesArePackedAndUnpacked(t *testing.T) {
	for _, length := range []int{1, 18, 255, 256, 512, 513, 4096, maxPage} {
		for _, filled := range []int{0, 1, 18, length} {
			page := make([]byte, length)
			for i := range page[:min(filled, length)] {
				page[length-1-i] = 7
			}
			text := PackPage(page)
			if got := unpackPage(text); !bytes.Equal(got, page) || !isPage(text) {
				t.Errorf("%d of %d bytes: %q", filled, length, text)
			}
			if most := 2*filled + 4*(length/255+2); len(text) > most {
				t.Errorf("%d of %d bytes take %d, more than %d", filled, length, len(text), most)
			}
		}
	}
	spelled := func(packed ...byte) string { return base64.StdEncoding.EncodeToString(packed) }
	for _, text := range []string{"Bw", "\n", "?", spelled(0), spelled(0, 0), spelled(7, 0), spelled(0, 1, 0, 1), spelled(0, 254, 0, 2), spelled(0, 255, 0, 0), spelled(bytes.Repeat([]byte{0, 255}, 25)...), "Bx=="} {
		if isPage(text) {
			t.Errorf("%q is taken", text)
		}
	}
}
