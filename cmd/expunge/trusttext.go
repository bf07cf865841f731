package main

import (
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/attest"
)

// text is a trust root for a person.
func (i rootItem) text() string {
	var b strings.Builder
	state := "complete"
	if i.Missing != "" {
		state = "A DRAFT: signatures are missing, " + i.Missing
	}
	fmt.Fprintf(&b, "%s: version %d, %s\n", i.File, i.Version, state)
	fmt.Fprintf(&b, "  fingerprint %s\n  signed by   %d of %d root keys\n", i.Fingerprint, i.Threshold, len(i.Roots))
	signed := map[string]bool{}
	for _, id := range i.SignedBy {
		signed[id] = true
	}
	for _, k := range i.Roots {
		fmt.Fprintf(&b, "    %s%s\n", k.KeyID, map[bool]string{true: " signed"}[signed[k.KeyID]])
	}
	fmt.Fprintf(&b, "  keys        %d\n", len(i.Keys))
	for _, k := range i.Keys {
		fmt.Fprintf(&b, "    %s %s%s%s\n", k.KeyID, k.Role, boundWords(", from ", k.From), boundWords(", until ", k.Until))
	}
	fmt.Fprintf(&b, "  logs        %d\n", len(i.Logs))
	for _, l := range i.Logs {
		fmt.Fprintf(&b, "    %s\n", l.Origin)
	}
	fmt.Fprintf(&b, "  revocations %d\n", len(i.Revocations))
	for _, v := range i.Revocations {
		since := boundWords(", since ", v.Since)
		if since == "" {
			since = ", altogether"
		}
		fmt.Fprintf(&b, "    %s: %s%s\n", v.KeyID, v.Reason, since)
	}
	fmt.Fprintf(&b, "  cosigners   %d\n", len(i.Cosigners))
	for _, c := range i.Cosigners {
		fmt.Fprintf(&b, "    %s\n", c)
	}
	return b.String()
}

func boundWords(before string, b *attest.Bound) string {
	if b == nil {
		return ""
	}
	var parts []string
	if b.Index != nil {
		parts = append(parts, fmt.Sprintf("entry %d of %s", *b.Index, b.Origin))
	}
	if b.Time != "" {
		parts = append(parts, b.Time)
	}
	return before + strings.Join(parts, " and ")
}
