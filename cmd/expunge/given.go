package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/expunge-dev/expunge/sanitize"
)

// givenFlags are what people say of drives, and of the work on them, for the certificate.
type givenFlags struct {
	common   sanitize.Given
	operator sanitize.Person
	file     string
}

// maxGivenFile is more than a file of what is given can have.
const maxGivenFile = 1 << 20

func (g *givenFlags) add(flags *pflag.FlagSet) {
	flags.SortFlags = false // they are explained in this order
	for _, f := range []struct {
		to          *string
		name, usage string
	}{
		{&g.operator.Name, "operator", "who carries it out: `NAME`, for the certificate, as are all of the following"},
		{&g.operator.Title, "operator-title", "the operator's title or position"},
		{&g.operator.Contact, "operator-contact", "how to reach the operator"},
		{&g.common.Organization, "organization", "whose data are on the drives"},
		{&g.common.Processor, "processor", "who sanitizes on its behalf"},
		{&g.common.Site, "site", "where that is done"},
		{&g.common.Location, "location", "where within the site: room, rack, slot"},
		{&g.common.AssetTag, "asset-tag", "the number that the organization gave the drive; several drives are given theirs by --given"},
		{&g.common.Source, "source", "the user or computer that the drive came from; several drives are given theirs by --given"},
		{&g.common.Lot, "lot", "the lot that the drives belong to"},
		{&g.common.Ticket, "ticket", "the order or ticket that this is done for"},
		{&g.common.Custody, "custody", "reference of the chain of custody"},
		{&g.common.Received, "received", "when, or from whom, the drives were received"},
		{&g.common.Seal, "seal", "the number of their seal"},
		{&g.common.Condition, "condition", "operational or damaged"},
		{&g.common.BackedUp, "backed-up", "whether there is a backup of the data: yes, no or unknown"},
		{&g.common.Destination, "destination", "what becomes of the drives: \"internal reuse\", \"external reuse\", recycling, manufacturer, destruction or other"},
		{&g.common.Details, "destination-details", "where that is"},
		{&g.common.Notes, "notes", "anything else that the certificate shall say"},
	} {
		flags.StringVar(f.to, f.name, "", f.usage)
	}
	flags.StringVar(&g.file, "given", "", "all of that from a YAML `FILE`, and below drives: what is said of single drives instead, by serial number or WWN")
}

// request is what was given for so many drives; nil when nothing was. What a flag says stands over the file.
func (g *givenFlags) request(drives int) (*sanitize.GivenRequest, error) {
	if drives > 1 && (g.common.AssetTag != "" || g.common.Source != "") {
		return nil, usage("say it for each of them in a file: expunge plan --given FILE", errors.New("--asset-tag and --source belong to one drive, and several are named"))
	}
	var r sanitize.GivenRequest
	if g.file != "" {
		data, err := readLittle(g.file, maxGivenFile)
		if err == nil {
			r, err = sanitize.ParseGiven(data)
		}
		if err != nil {
			return nil, usage("words are those of the flags (operator has name, title, organization, location and contact); below drives: they are said of one, by its serial number or WWN",
				fmt.Errorf("--given %s: %w", g.file, err))
		}
	}
	said := g.common
	if g.operator != (sanitize.Person{}) {
		operator := g.operator
		said.Operator = &operator
	}
	if r.Given = said.Over(r.Given); r.Given == (sanitize.Given{}) && len(r.Drives) == 0 {
		return nil, nil
	}
	return &r, nil
}

// readLittle reads a file that cannot be large.
func readLittle(name string, most int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("not a file of at most %d bytes", most)
	}
	return os.ReadFile(name)
}

// givenWords are what was given, one line for each thing that people would look for.
func givenWords(g *sanitize.Given) string {
	if g == nil {
		return ""
	}
	var b strings.Builder
	say := func(what string, words ...string) {
		if said := saidTogether(words...); said != "" {
			fmt.Fprintf(&b, "  given       %s %s\n", what, said)
		}
	}
	if p := g.Operator; p != nil {
		say("operator", p.Name, p.Title, p.Organization, p.Location, p.Contact)
	}
	say("organization", g.Organization)
	say("processor", g.Processor)
	say("site", g.Site, g.Location)
	say("asset tag", g.AssetTag)
	say("source", g.Source)
	say("lot", g.Lot)
	say("ticket", g.Ticket)
	say("custody", g.Custody)
	say("received", g.Received)
	say("seal", g.Seal)
	say("condition", g.Condition)
	say("backed up", g.BackedUp)
	say("destination", g.Destination, g.Details)
	say("notes", g.Notes)
	return b.String()
}

// saidTogether are words one after the other, without those that are not there.
func saidTogether(words ...string) string {
	var said []string
	for _, w := range words {
		if w != "" {
			said = append(said, w)
		}
	}
	return strings.Join(said, ", ")
}
