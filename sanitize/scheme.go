package sanitize

import (
	"fmt"
	"strings"
)

// Pass is one pass over the whole drive. Pattern is what a plan can say before the drive is
// touched; what chance decides is drawn when the pass begins, and journaled:
//
//	random       a fresh AES-256-CTR keystream
//	hex:924924   these bytes, repeated from the drive's first byte on
//	char:a       one random byte, named so that a later pass can refer to it
//	not:a        the complement of the byte that was drawn for char:a
//	gutmann      one of the 27 fixed patterns of the Gutmann scheme not yet used in this job
type Pass struct {
	Pattern string `json:"pattern"`
}

// Scheme is a named list of passes from an older standard. Whatever its number of passes, it is
// Clear at most today (NIST SP 800-88r2: pass counts are obsolete), and only its last pass is
// read back.
type Scheme struct {
	Name    string
	Source  string
	Aliases []string
	Passes  []Pass
}

func passes(patterns ...string) []Pass {
	list := make([]Pass, len(patterns))
	for i, p := range patterns {
		list[i] = Pass{p}
	}
	return list
}

func repeat(n int, pattern string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = pattern
	}
	return list
}

// Schemes lists the legacy schemes. Where sources differ, the comment says which reading this is.
func Schemes() []Scheme {
	gutmann := repeat(4, "random")
	gutmann = append(gutmann, repeat(len(gutmannPatterns), "gutmann")...)
	gutmann = append(gutmann, repeat(4, "random")...)
	return []Scheme{
		{"dod-5220.22-m", "DoD 5220.22-M, short", []string{"dod", "dod-short"},
			passes("char:a", "not:a", "random")},
		{"dod-5220.22-m-ece", "DoD 5220.22-M ECE", []string{"dod-ece"},
			passes("char:a", "not:a", "random", "char:b", "char:c", "not:c", "random")},
		// Two tools write random bytes in the last pass; AA is the usual reading.
		{"bsi-vsitr", "BSI VSITR", []string{"vsitr"},
			passes("hex:00", "hex:ff", "hex:00", "hex:ff", "hex:00", "hex:ff", "hex:aa")},
		{"hmg-is5-baseline", "HMG Infosec Standard 5, Baseline", nil, passes("hex:00")},
		{"hmg-is5-enhanced", "HMG Infosec Standard 5, Enhanced", nil, passes("hex:00", "hex:ff", "random")},
		// The last pass is a random stream here, not a single random byte.
		{"rcmp-tssit-ops-ii", "RCMP TSSIT OPS-II", []string{"ops-ii"},
			passes("hex:00", "hex:ff", "hex:00", "hex:ff", "hex:00", "hex:ff", "random")},
		{"csec-itsg-06", "CSEC ITSG-06", nil, passes("hex:ff", "hex:00", "random")},
		{"ar-380-19", "US Army AR 380-19", nil, passes("random", "char:a", "not:a")},
		{"afssi-5020", "US Air Force AFSSI-5020", []string{"ncsc-tg-025", "navso-p-5239-26"},
			passes("hex:00", "hex:ff", "random")},
		// Some tools begin with 00; this is Schneier's order.
		{"schneier", "Schneier, Applied Cryptography", nil,
			passes(append([]string{"hex:ff", "hex:00"}, repeat(5, "random")...)...)},
		{"gutmann", "Gutmann, Secure Deletion of Data", nil, passes(gutmann...)},
		{"bmb21-2019", "BMB21-2019", nil, passes("hex:ff", "hex:00", "random", "random", "random", "hex:ff")},
		{"gost-r-50739-95", "GOST R 50739-95", []string{"gost"}, passes("hex:00", "random")},
		{"nzsit-402", "NZSIT 402", nil, passes("random")},
		{"ism-magnetic", "Australian ISM-0354", nil, passes("random")},
		{"ism-magnetic-small", "Australian ISM-0354, below 15 GB or made before 2001", nil, passes("random", "random", "random")},
		{"ism-flash", "Australian ISM-0359", nil, passes("random", "random")},
		{"nist-800-88r1-flash", "NIST SP 800-88r1 A, Clear of USB and memory cards", nil, passes("char:a", "not:a")},
	}
}

// gutmannPatterns are passes 5 to 31 of the scheme, which are written in random order.
var gutmannPatterns = []string{
	"55", "aa", "924924", "492492", "249249",
	"00", "11", "22", "33", "44", "55", "66", "77", "88", "99", "aa", "bb", "cc", "dd", "ee", "ff",
	"924924", "492492", "249249", "6db6db", "b6db6d", "db6db6",
}

// SchemeByName finds a scheme by name or alias. The error is a *RequestError.
func SchemeByName(name string) (Scheme, error) {
	low := strings.ToLower(name)
	var names []string
	for _, s := range Schemes() {
		names = append(names, s.Name)
		for _, n := range append(s.Aliases, s.Name) {
			if n == low {
				return s, nil
			}
		}
	}
	return Scheme{}, &RequestError{"scheme", name, "not one of " + strings.Join(names, ", ")}
}

// passesOf is what a request writes: its scheme's passes, or one of its pattern, or by default
// one pass of a keystream.
func passesOf(r Request) ([]Pass, error) {
	switch {
	case r.Scheme != "":
		s, err := SchemeByName(r.Scheme)
		return s.Passes, err
	case r.Pattern == "" || r.Pattern == "random":
		return passes("random"), nil
	case r.Pattern == "zero":
		return passes("hex:00"), nil
	case r.Pattern == "one":
		return passes("hex:ff"), nil
	}
	p, err := normalPattern(r.Pattern)
	if err != nil {
		return nil, fmt.Errorf("passes: %w", err)
	}
	return passes("hex:" + p), nil
}
