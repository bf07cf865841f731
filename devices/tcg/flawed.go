package tcg

import "strings"

// Flaw is a model whose self-encryption was found not to keep what it promises. A cryptographic erase of
// such a drive is not to be relied upon: what protects its keys is not what the standard says.
type Flaw struct {
	Model  string `json:"model"`              // as people know it
	What   string `json:"what"`               // is wrong
	Fixed  string `json:"fixed_in,omitempty"` // firmware in which the maker corrected it; "" where none is known
	Source string `json:"source"`
}

const (
	sourcePaper  = "Meijer, van Gastel: Self-encrypting deception, IEEE Symposium on Security and Privacy 2019; CVE-2018-12037, CERT VU#395981"
	sourceMemory = "Meijer, van Gastel: Self-encrypting deception, IEEE Symposium on Security and Privacy 2019; CVE-2018-12037 and CVE-2018-12038, CERT VU#395981"
)

const unbound = "its media encryption key does not depend on any password"

// flaws are matched by a part of the model number that the model has in every capacity.
var flaws = []struct {
	part string
	Flaw
}{
	{"MX100SSD", Flaw{"Crucial MX100", unbound, "MU03", sourcePaper}},
	{"MX200SSD", Flaw{"Crucial MX200", unbound, "MU05", sourcePaper}},
	{"MX300SSD", Flaw{"Crucial MX300", unbound, "", sourcePaper}},
	{"SSD 840 EVO", Flaw{"Samsung 840 EVO", unbound + " with ATA security in high mode, and old copies of its keys stay in its flash", "", sourceMemory}},
	{"SSD 850 EVO", Flaw{"Samsung 850 EVO", unbound + " with ATA security in high mode", "", sourcePaper}},
	{"Portable SSD T3", Flaw{"Samsung T3", unbound, "", sourcePaper}},
	{"Portable SSD T5", Flaw{"Samsung T5", unbound, "", sourcePaper}},
}

// Flawed says whether a drive of that model number and firmware is known to be flawed.
func Flawed(model, firmware string) (Flaw, bool) {
	for _, f := range flaws {
		if strings.Contains(strings.ToUpper(model), strings.ToUpper(f.part)) {
			return f.Flaw, !corrected(strings.TrimSpace(firmware), f.Fixed)
		}
	}
	return Flaw{}, false
}

// corrected compares firmware revisions of one maker's numbering: letters, then digits.
func corrected(firmware, fixed string) bool {
	if fixed == "" || len(firmware) != len(fixed) {
		return false
	}
	letters := strings.TrimRight(fixed, "0123456789")
	number := firmware[len(letters):]
	return strings.HasPrefix(firmware, letters) && strings.Trim(number, "0123456789") == "" && firmware >= fixed
}
