package sanitize

import (
	"slices"
	"strings"
)

// Technique is how a method is carried out.
type Technique string

// The techniques of house vocabulary, in the words of a certificate.
const (
	CryptoThenBlock       Technique = "cryptographic erase followed by block erase"
	CryptographicErase    Technique = "cryptographic erase"
	BlockErase            Technique = "block erase"
	DriveOverwrite        Technique = "drive overwrite"
	EnhancedSecurityErase Technique = "enhanced security erase"
	SecurityErase         Technique = "security erase"
	CryptographicFormat   Technique = "cryptographic format" // a format that destroys the key (NVMe)
	Format                Technique = "format"
	TCGRevert             Technique = "TCG revert"
	HostOverwrite         Technique = "host overwrite"
)

// Techniques lists all of them, the strongest assurance first: two techniques that fail in
// different ways before either alone, a drive's own commands before what a host can do. Of the two
// NVMe formats the cryptographic one comes first: without the key nothing can be read, wherever a copy
// of it lies, and a user data erase may be no more than that (NVMe base 2.0, 5.14).
func Techniques() []Technique {
	return []Technique{CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite, TCGRevert, EnhancedSecurityErase, SecurityErase,
		CryptographicFormat, Format, HostOverwrite}
}

// short names that people type.
var techniqueNames = map[string]Technique{
	"crypto": CryptographicErase, "block": BlockErase, "crypto+block": CryptoThenBlock, "overwrite": HostOverwrite, "enhanced": EnhancedSecurityErase,
	"format crypto": CryptographicFormat,
}

// techniqueByName finds a technique as people write it. The error is a *RequestError.
func techniqueByName(name string) (Technique, error) {
	plain := strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == ' ' }), " ")
	if t, ok := techniqueNames[plain]; ok {
		return t, nil
	}
	at := slices.IndexFunc(Techniques(), func(t Technique) bool { return strings.EqualFold(string(t), plain) })
	if at < 0 {
		words := make([]string, 0, len(Techniques()))
		for _, t := range Techniques() {
			words = append(words, t.Word())
		}
		why := "not one of " + list(words)
		if meant := nearestTechnique(plain); meant != "" {
			why += "; perhaps " + meant + " is meant"
		}
		return "", &RequestError{"technique", name, why}
	}
	return Techniques()[at], nil
}

// nearestTechnique is the technique, as people type it, whose beginning a wrong name shares; "" where none is near.
func nearestTechnique(plain string) string {
	only := letters(plain)
	for _, t := range Techniques() {
		if only == letters(t.Word()) || only == letters(string(t)) {
			return t.Word()
		}
	}
	// What names two of them is no misspelling of either alone, which may be the weaker.
	if strings.Contains(only, "crypto") && strings.Contains(only, "bl") {
		return CryptoThenBlock.Word()
	}
	if strings.Contains(only, "crypto") && strings.Contains(only, "format") {
		return CryptographicFormat.Word()
	}
	const least = 4 // letters that no two techniques but those of a family share
	best, most := "", least-1
	for _, t := range Techniques() {
		for _, word := range []string{strings.ReplaceAll(t.Word(), "-", " "), strings.ToLower(string(t))} {
			n := 0
			for n < min(len(word), len(plain)) && word[n] == plain[n] {
				n++
			}
			if n > most || n == most && n == len(word) {
				best, most = t.Word(), n
			}
		}
	}
	return best
}

// letters are a name without what people put between its words.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			return -1
		}
		return r
	}, strings.ToLower(name))
}

// formats says whether the technique is a format, of whichever kind.
func (t Technique) formats() bool { return t == Format || t == CryptographicFormat }

// Operation is one thing that the drive does by itself: a command, and what it must answer.
type Operation struct {
	Technique Technique `json:"technique"` // one, never a sequence
	Kind      Kind      `json:"kind"`
	Command   string    `json:"command"` // for people: "NVMe Sanitize, crypto erase"
	// Code is what the command is sent with: CDW10 of NVMe Sanitize, FEATURE and COUNT of ATA SANITIZE
	// DEVICE (16 bits each), 1 for an enhanced SECURITY ERASE UNIT, byte 1 of the CDB of SCSI SANITIZE,
	// CDW10 of NVMe Format, the logical block length after FORMAT UNIT (0 leaves it), the way of a TCG erase.
	Code uint32 `json:"code"`
	NSID uint32 `json:"nsid,omitempty"` // that an NVMe Format is sent with
	Unit int    `json:"unit,omitempty"` // which of the drive's logical units takes it, from 0
	// EstimateSeconds is the drive's own, when the plan was made; nil where it has none.
	EstimateSeconds *int64 `json:"estimate_seconds,omitempty"`
}

// noDeallocate says whether a cryptographic erase leaves blocks allocated (NDAS), so that what is
// read back is the old ciphertext under the new key.
func (o Operation) noDeallocate() bool {
	return o.Kind == NVMeSanitize && o.Technique == CryptographicErase && o.Code&cdw10NDAS != 0
}

// audited says whether the drive shows its media as the erase left them, before it deallocates blocks
// (EMVS; NVMe base 2.3, 8.1.26).
func (o Operation) audited() bool { return o.Kind == NVMeSanitize && o.Code&cdw10EMVS != 0 }

// Steps are the operations of a technique on one unit of a drive, by their techniques.
func (t Technique) Steps() []Technique {
	if t == CryptoThenBlock {
		return []Technique{CryptographicErase, BlockErase}
	}
	return []Technique{t}
}
