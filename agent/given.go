package agent

import (
	"fmt"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// givenOf is what is given of each selected drive, in words that can be signed. The error is a
// *sanitize.RequestError.
func givenOf(r *sanitize.GivenRequest, selected []devices.Drive) (map[devices.ID]*sanitize.Given, error) {
	given, err := r.Of(selected)
	if err != nil {
		return nil, err
	}
	for _, d := range selected {
		if err := AttestGiven(given[d.ID]).Check(); err != nil {
			return nil, &sanitize.RequestError{Field: "given for", Value: d.Serial, Why: fmt.Sprintf("it cannot be signed: %v", err)}
		}
	}
	return given, nil
}

// AttestGiven is what is given as a statement has it, word for word.
func AttestGiven(g *sanitize.Given) *attest.Given {
	if g == nil {
		return nil
	}
	to := &attest.Given{
		Organization: g.Organization, Processor: g.Processor, Site: g.Site, Location: g.Location, AssetTag: g.AssetTag, Source: g.Source,
		Lot: g.Lot, Ticket: g.Ticket, Custody: g.Custody, Received: g.Received, Seal: g.Seal, Condition: g.Condition, BackedUp: g.BackedUp,
		Destination: g.Destination, Details: g.Details, Notes: g.Notes,
	}
	if p := g.Operator; p != nil {
		to.Operator = &attest.Person{Name: p.Name, Title: p.Title, Organization: p.Organization, Location: p.Location, Contact: p.Contact}
	}
	return to
}
