package sanitize

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/expunge-dev/expunge/devices"
)

// Given is what people say of a drive and of the work on it (NIST SP 800-88r2, 4.6 and appendix C). It goes
// through plan and journal into the certificate word for word, and decides nothing. What was not said is
// empty: none of it is ever made up.
type Given struct {
	Operator     *Person `yaml:"operator" json:"operator,omitempty"`         // who carries the sanitization out
	Organization string  `yaml:"organization" json:"organization,omitempty"` // whose data are on the drive
	Processor    string  `yaml:"processor" json:"processor,omitempty"`       // who sanitizes on its behalf
	Site         string  `yaml:"site" json:"site,omitempty"`
	Location     string  `yaml:"location" json:"location,omitempty"`   // within the site: room, rack, slot
	AssetTag     string  `yaml:"asset-tag" json:"asset_tag,omitempty"` // the number that the organization gave the drive
	Source       string  `yaml:"source" json:"source,omitempty"`       // the user or computer that the drive came from
	Lot          string  `yaml:"lot" json:"lot,omitempty"`
	Ticket       string  `yaml:"ticket" json:"ticket,omitempty"`
	Custody      string  `yaml:"custody" json:"custody,omitempty"` // reference of the chain of custody
	Received     string  `yaml:"received" json:"received,omitempty"`
	Seal         string  `yaml:"seal" json:"seal,omitempty"`
	Condition    string  `yaml:"condition" json:"condition,omitempty"`
	BackedUp     string  `yaml:"backed-up" json:"backed_up,omitempty"`
	Destination  string  `yaml:"destination" json:"destination,omitempty"`
	Details      string  `yaml:"destination-details" json:"destination_details,omitempty"`
	Notes        string  `yaml:"notes" json:"notes,omitempty"`
}

// Person is one who does something, by their own word.
type Person struct {
	Name         string `yaml:"name" json:"name"`
	Title        string `yaml:"title" json:"title,omitempty"`
	Organization string `yaml:"organization" json:"organization,omitempty"`
	Location     string `yaml:"location" json:"location,omitempty"`
	Contact      string `yaml:"contact" json:"contact,omitempty"`
}

// GivenRequest is what is given for the drives of a request: what holds for all of them, and what is said of
// some instead, by serial number, WWN or id.
type GivenRequest struct {
	Given  `yaml:",inline"`
	Drives map[string]Given `yaml:"drives" json:"drives,omitempty"`
}

// Over is what is given with what is said of one drive, or on a command line, put over it member by member.
// A person is one member.
func (g Given) Over(common Given) Given {
	return Given{
		Operator: cmp.Or(g.Operator, common.Operator), Organization: cmp.Or(g.Organization, common.Organization), Processor: cmp.Or(g.Processor, common.Processor),
		Site: cmp.Or(g.Site, common.Site), Location: cmp.Or(g.Location, common.Location), AssetTag: cmp.Or(g.AssetTag, common.AssetTag),
		Source: cmp.Or(g.Source, common.Source), Lot: cmp.Or(g.Lot, common.Lot), Ticket: cmp.Or(g.Ticket, common.Ticket), Custody: cmp.Or(g.Custody, common.Custody),
		Received: cmp.Or(g.Received, common.Received), Seal: cmp.Or(g.Seal, common.Seal), Condition: cmp.Or(g.Condition, common.Condition), BackedUp: cmp.Or(g.BackedUp, common.BackedUp),
		Destination: cmp.Or(g.Destination, common.Destination), Details: cmp.Or(g.Details, common.Details), Notes: cmp.Or(g.Notes, common.Notes),
	}
}

// Of is what is given of each of the selected drives; drives of which nothing is said are not in it. A name that
// is none of theirs, or could be two of them, is a *RequestError.
func (r *GivenRequest) Of(selected []devices.Drive) (map[devices.ID]*Given, error) {
	if r == nil {
		return nil, nil
	}
	if r.AssetTag != "" && len(selected) > 1 {
		return nil, &RequestError{"asset tag", r.AssetTag, fmt.Sprintf("it is the number of one drive, and these are %d: give each its own, in a file below drives", len(selected))}
	}
	own := map[devices.ID]Given{}
	for _, name := range slices.Sorted(maps.Keys(r.Drives)) {
		var found []devices.ID
		for _, d := range selected {
			if name != "" && (name == d.Serial || name == d.WWN || name == string(d.ID)) {
				found = append(found, d.ID)
			}
		}
		switch {
		case len(found) == 0:
			return nil, &RequestError{"given for", name, "none of the drives that were named has this serial number or WWN"}
		case len(found) > 1:
			return nil, &RequestError{"given for", name, "several of the drives that were named have this serial number: use their WWNs"}
		}
		if _, twice := own[found[0]]; twice {
			return nil, &RequestError{"given for", name, "the same drive is there by another name, too"}
		}
		own[found[0]] = r.Drives[name]
	}
	all := map[devices.ID]*Given{}
	for _, d := range selected {
		if g := own[d.ID].Over(r.Given); g != (Given{}) {
			all[d.ID] = &g
		}
	}
	return all, nil
}

// maxGivenFile bounds a file of what is given; that of a hundred drives fills a tenth of it.
const maxGivenFile = 1 << 20

// ParseGiven reads a file of what is given: YAML in which every word must be known. The error is a
// *PolicyFileError, which says where.
func ParseGiven(data []byte) (GivenRequest, error) {
	var g GivenRequest
	if _, err := decodeYAML(data, maxGivenFile, "what can be given", &g); err != nil {
		return GivenRequest{}, err
	}
	return g, nil
}
