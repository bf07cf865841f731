package attest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Given is what people say of a drive and of the work on it (800-88r2 4.6 and appendix C). It is signed as
// given: the program has not checked a word of it, and forms say so. Every member is optional, and none is
// ever made up.
type Given struct {
	Operator     *Person `json:"operator,omitempty"`     // who carried the sanitization out
	Organization string  `json:"organization,omitempty"` // whose data was on the drive
	Processor    string  `json:"processor,omitempty"`    // who sanitizes on its behalf
	Site         string  `json:"site,omitempty"`
	Location     string  `json:"location,omitempty"` // within the site: room, rack, slot
	AssetTag     string  `json:"assetTag,omitempty"` // the number that the organization gave the drive
	Source       string  `json:"source,omitempty"`   // the user or computer that the drive came from
	Lot          string  `json:"lot,omitempty"`
	Ticket       string  `json:"ticket,omitempty"`
	Custody      string  `json:"custody,omitempty"` // reference of the chain of custody
	Received     string  `json:"received,omitempty"`
	Seal         string  `json:"seal,omitempty"`
	Condition    string  `json:"condition,omitempty"`   // "operational" or "damaged"
	BackedUp     string  `json:"backedUp,omitempty"`    // "yes", "no" or "unknown"
	Destination  string  `json:"destination,omitempty"` // one of destinations
	Details      string  `json:"destinationDetails,omitempty"`
	Notes        string  `json:"notes,omitempty"`
}

// Person is one who did something, by their own word.
type Person struct {
	Name         string `json:"name"`
	Title        string `json:"title,omitempty"`
	Organization string `json:"organization,omitempty"`
	Location     string `json:"location,omitempty"`
	Contact      string `json:"contact,omitempty"`
}

// destinations are those of 800-88r2's sample form.
var destinations = []string{"internal reuse", "external reuse", "recycling", "manufacturer", "destruction", "other"}

// maxGiven bounds one thing said, in bytes of UTF-8.
const maxGiven = 500

func (p *Person) check() error {
	if p == nil {
		return nil
	}
	words := []string{p.Name, p.Title, p.Organization, p.Location, p.Contact}
	if err := invisible(words...); err != nil {
		return fmt.Errorf("what is said of a person has %w", err)
	}
	return checkRules([]rule{
		{p.Name != "", "a person without a name"},
		{!slices.ContainsFunc(words, tooLong), fmt.Sprintf("something said of a person is longer than %d bytes", maxGiven)},
	})
}

func tooLong(s string) bool { return len(s) > maxGiven }

// Check says why what is given could not be signed: a word that is unknown or too long, or that has characters
// which are not seen.
func (g *Given) Check() error { return g.check() }

// invisible says which character of words changes what a reader sees without being seen, or ends the line.
func invisible(words ...string) error {
	for _, w := range words {
		for _, r := range w {
			if r < 0x20 || r == 0x7f || deceptive(r) {
				return fmt.Errorf("the invisible character %U", r)
			}
		}
		if !utf8.ValidString(w) {
			return errors.New("bytes that are not UTF-8")
		}
	}
	return nil
}

func (g *Given) check() error {
	if g == nil {
		return nil
	}
	if err := g.Operator.check(); err != nil {
		return err
	}
	words := []string{g.Organization, g.Processor, g.Site, g.Location, g.AssetTag, g.Source, g.Lot, g.Ticket, g.Custody, g.Received, g.Seal, g.Details, g.Notes}
	if err := invisible(words...); err != nil {
		return fmt.Errorf("what is given has %w", err)
	}
	return checkRules([]rule{
		{*g != Given{}, "what is given is empty"},
		{!slices.ContainsFunc(words, tooLong), fmt.Sprintf("something given is longer than %d bytes", maxGiven)},
		{slices.Contains(append([]string{""}, destinations...), g.Destination), "the destination is none of " + strings.Join(destinations, ", ")},
		{slices.Contains([]string{"", "operational", "damaged"}, g.Condition), "the condition is neither operational nor damaged"},
		{slices.Contains([]string{"", "yes", "no", "unknown"}, g.BackedUp), "whether there is a backup is neither yes, no nor unknown"},
	})
}
