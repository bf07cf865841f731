package attest

import "slices"

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
	return checkRules([]rule{
		{p.Name != "", "a person without a name"},
		{!slices.ContainsFunc(words, tooLong), "something said of a person is too long"},
	})
}

func tooLong(s string) bool { return len(s) > maxGiven }

func (g *Given) check() error {
	if g == nil {
		return nil
	}
	if err := g.Operator.check(); err != nil {
		return err
	}
	words := []string{g.Organization, g.Processor, g.Site, g.Location, g.AssetTag, g.Source, g.Lot, g.Ticket, g.Custody, g.Received, g.Seal, g.Details, g.Notes}
	return checkRules([]rule{
		{*g != Given{}, "what is given is empty"},
		{!slices.ContainsFunc(words, tooLong), "something given is too long"},
		{slices.Contains(append([]string{""}, destinations...), g.Destination), "the destination is unknown"},
		{slices.Contains([]string{"", "operational", "damaged"}, g.Condition), "the condition is unknown"},
		{slices.Contains([]string{"", "yes", "no", "unknown"}, g.BackedUp), "whether there is a backup is neither yes, no nor unknown"},
	})
}
