package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/attest"
)

func driveSection(r attest.Result) section {
	d, s := r.Device, section{title: "The drive"}
	s.strong("Model", d.Model)
	s.strong("Serial number", d.Serial)
	s.exact(map[bool]string{true: "NQN", false: "WWN"}[strings.HasPrefix(d.WWN, "nqn.")], d.WWN)
	s.exact("Firmware", d.Firmware)
	s.add("Kind", fmt.Sprintf("%s, %d-byte blocks", kind(d), d.LogicalBlockBytes))
	s.add("Capacity", capacity(d.SizeBytes))
	s.add("Parts", parts(d))
	if d.Fabric != "" {
		s.add("Reached over", d.Fabric)
	}
	if d.Identity != "drive" {
		s.add("Identity", "the host's word: the drive itself was not asked")
	}
	s.add("Condition", condition(d, r.Health))
	s.exact("Seen as", strings.Join(d.Nodes, " "))
	return s
}

func kind(d attest.Device) string {
	media := map[string]string{"ssd": "solid-state drive", "hdd": "hard disk", "unknown": "media of unknown kind"}[d.Media]
	if media == "" {
		media = d.Media
	}
	protocol := d.Protocol
	if upper := strings.ToUpper(protocol); len(protocol) <= 4 {
		protocol = strings.Replace(upper, "NVME", "NVMe", 1)
	}
	return media + ", " + protocol
}

// parts are those that have sizes of their own.
func parts(d attest.Device) string {
	var list []string
	for _, n := range d.Namespaces {
		text := fmt.Sprintf("namespace %d: %s", n.NSID, capacity(n.SizeBytes))
		if !n.Attached {
			text += ", not attached: not read back"
		}
		list = append(list, text)
	}
	if len(list) == 1 && d.Namespaces[0].Attached {
		list = nil // the drive's own size says it
	}
	for _, u := range d.LogicalUnits {
		list = append(list, fmt.Sprintf("logical unit %d: %s", u.LUN, capacity(u.SizeBytes)))
	}
	if z := d.Zones; z != nil {
		list = append(list, count(z.Count, "zone")+" of "+count(z.CapacityBytes, "byte"))
	}
	return strings.Join(list, "; ")
}

// condition is what the drive said of itself. What it did not say is not there.
func condition(d attest.Device, h *attest.Health) string {
	var list []string
	say := func(n *int64, format string) {
		if n != nil {
			list = append(list, fmt.Sprintf(format, grouped(*n)))
		}
	}
	c := &attest.Condition{}
	if h != nil && h.After != nil {
		c = h.After
	} else if h != nil && h.Before != nil {
		c = h.Before
	}
	hours := c.PowerOnHours
	if hours == nil {
		hours = d.PowerOnHours
	}
	say(hours, "%s power-on hours")
	say(c.PowerCycles, "%s power cycles")
	say(c.UsedPercent, "%s %% used")
	say(c.MediaErrors, "%s media errors")
	say(c.Reallocated, "%s reallocated")
	say(c.Pending, "%s pending")
	say(c.Uncorrectable, "%s uncorrectable")
	return strings.Join(list, ", ")
}

// givenSection is what people said.
func givenSection(g *attest.Given) section {
	s := section{title: "Who and where", note: "as stated by the operator, not checked"}
	if g == nil {
		s.note = ""
		s.add("Stated", "nothing: no person, place or asset number was given")
		return s
	}
	s.add("Organization", g.Organization)
	s.add("Asset tag", g.AssetTag)
	s.add("Source", g.Source)
	s.add("Sanitized by", person(g.Operator))
	s.add("Processor", g.Processor)
	s.add("Site", joined(", ", g.Site, g.Location))
	s.add("Reference", joined(", ", named("lot", g.Lot), named("ticket", g.Ticket)))
	s.add("Custody", joined(", ", g.Custody, named("received", g.Received), named("seal", g.Seal)))
	s.add("Condition", joined(", ", g.Condition, named("backed up:", g.BackedUp)))
	s.add("Destination", joined(": ", g.Destination, g.Details))
	s.add("Notes", g.Notes)
	return s
}

func person(p *attest.Person) string {
	if p == nil {
		return ""
	}
	return joined(", ", p.Name, p.Title, p.Organization, p.Location, p.Contact)
}

// named puts its name before what is there.
func named(name, value string) string {
	if value == "" {
		return ""
	}
	return name + " " + value
}

// joined puts what is there together.
func joined(between string, words ...string) string {
	var there []string
	for _, w := range words {
		if w != "" {
			there = append(there, w)
		}
	}
	return strings.Join(there, between)
}

func workSection(r attest.Result) section {
	w, s := r.Sanitization, section{title: "What was done"}
	policy := "policy " + r.Policy.Name
	if r.Policy.Standard != "" {
		policy += " (" + r.Policy.Standard + ")"
	}
	s.add("Intended", w.Method+" by "+joined(", scheme ", w.Technique, w.Scheme)+", under "+policy)
	s.add("Intended for", joined(", ", r.Disposition, confidentiality(r.Category)))
	for _, x := range w.Reshaped {
		if x.Why == "format" {
			s.add("Reformatted", fmt.Sprintf("from blocks of %d bytes to blocks of %d", x.FromLogicalBlockBytes, x.ToLogicalBlockBytes))
			continue
		}
		s.add("Made accessible", fmt.Sprintf("%s that were hidden from the host (%s), beside the %s that it saw", count(x.ToBytes-x.FromBytes, "byte"), x.Why, grouped(x.FromBytes)))
	}
	for _, p := range w.Passes {
		state := "NOT complete"
		if p.Complete {
			state = "complete"
		}
		s.add(fmt.Sprintf("Pass %d", p.Pass), fmt.Sprintf("%s: %s written and flushed, %s", pattern(p.Pattern), count(p.Bytes, "byte"), state))
	}
	for _, o := range w.Operations {
		s.add("By the drive", operation(o))
	}
	if w.Started == "" {
		s.add("Time", "no step was begun")
	} else {
		s.add("Time", moment(w.Started)+" to "+moment(w.Finished)+joined("", bracketed(span(w.Started, w.Finished)))+", by the host's clock")
	}
	if w.Attempts != 1 || w.Interruptions != 0 {
		s.add("Attempts", fmt.Sprintf("%d, %s", w.Attempts, count(w.Interruptions, "interruption")))
	}
	return s
}

func bracketed(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func confidentiality(category string) string {
	if category == "" {
		return ""
	}
	return "information of " + category + " confidentiality"
}

func pattern(p string) string {
	if p == "random" {
		return "a random pattern"
	}
	return "the pattern " + strings.TrimPrefix(p, "hex:")
}

// operation is one thing that the drive did by itself.
func operation(o attest.Operation) string {
	text := o.Technique
	if o.Unit > 0 {
		text += fmt.Sprintf(" of unit %d", o.Unit)
	}
	text += " (" + o.Command + ")"
	if !o.Complete {
		last := o.Status
		if last == "" {
			last = "nothing"
		}
		return text + ": NOT complete; the drive last said: " + last
	}
	return text + fmt.Sprintf(": the drive reports: %s, after %d s", o.Status, o.ElapsedSeconds)
}

// proofSection is what shows that it was done.
func proofSection(r attest.Result) section {
	v, s := r.Verification, section{title: "What shows it"}
	s.add("Read back", attest.ReadBack(v))
	if v.Mode != "status" {
		s.add("Expected there", v.Expected)
	}
	if v.UnwrittenBlocks > 0 {
		s.add("Not read", count(v.UnwrittenBlocks, "block")+" above write pointers of zones")
	}
	if m := v.Markers; m != nil && m.Set > 0 && m.Changed+m.Unchanged+m.Unreadable == 0 {
		s.add("Markers", count(m.Set, "block")+" written before the erase, none of them read after it")
	} else if m != nil && m.Set > 0 {
		s.add("Markers", fmt.Sprintf("of %s written before the erase: %s gone after it, %s still there, %s unreadable",
			count(m.Set, "block"), grouped(m.Changed), grouped(m.Unchanged), grouped(m.Unreadable)))
	}
	if r.Sanitization.BlocksBarred {
		s.add("Markers", "none could be set: the drive's blocks were barred by what came before")
	}
	var accounts []string
	for _, o := range r.Sanitization.Operations {
		if o.Complete {
			accounts = append(accounts, joined("; ", o.Because, o.Timing))
		}
	}
	for _, a := range slices.Compact(accounts) { // two operations often have the same
		s.add("Drive's account", a+" (its own status page is in the certificate)")
	}
	s.add("Record", fmt.Sprintf("journal of %s, and the plan; their hashes are signed", count(r.Evidence.JournalRecords, "record")))
	if n := int64(len(r.Sanitization.Commands)) + r.Sanitization.CommandsOmitted; n > 0 {
		s.add("Commands", fmt.Sprintf("%s that destroy were sent; the certificate has them byte by byte", count(n, "command")))
	}
	return s
}

// limitSection is what a reader must not take for granted.
func limitSection(r attest.Result) section {
	s := section{title: "What it does not reach, and what it rests on"}
	for _, x := range r.Sanitization.Excludes {
		s.add("Not reached", x)
	}
	s.add("Hidden areas", hiddenAreas(r.HiddenAreas))
	for _, x := range r.Sanitization.RestsOn {
		s.add("Rests on", x)
	}
	s.add("Rests on", "the honesty of host and drive: a signature shows what the program saw, and firmware can lie about what it did")
	for _, x := range r.Sanitization.Warnings {
		s.add("Note", x)
	}
	return s
}

// hiddenAreas puts what the drive keeps beside its blocks in a line, by what became of it. What is not there goes without saying.
func hiddenAreas(list []attest.HiddenArea) string {
	var words []string
	for _, state := range []string{"not sanitized", "unknown", "removed", "sanitized"} {
		var kinds []string
		for _, a := range list {
			if a.State == state {
				kinds = append(kinds, a.Kind)
			}
		}
		if len(kinds) > 0 {
			words = append(words, state+": "+strings.Join(kinds, ", "))
		}
	}
	return strings.Join(words, "; ")
}

// laterSection is what was said of the result after it was signed.
func laterSection(r attest.Report) section {
	s := section{title: "What was said later"}
	for _, v := range r.Validations {
		s.add("Validation", joined(", ", v.Decision+" by "+v.By.Name, v.By.Title, v.By.Organization, moment(v.Time.Claimed), v.Reason))
	}
	for _, x := range r.Supersessions {
		what := "what people said was corrected"
		if x.Withdrawn {
			what = "the certificate was withdrawn"
		}
		s.add("Supersession", joined(", ", what, moment(x.Time.Claimed), x.Reason))
	}
	return s
}
