package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list every drive of this machine, and why one cannot be chosen", Args: cobra.NoArgs,
		RunE: a.verb("list", func(ctx context.Context, _ []string) (answer, error) {
			d, err := a.listed(ctx)
			if err != nil {
				return answer{items: d.Items}, err
			}
			return answer{items: d.Items, notReached: d.NotReached, text: func(w io.Writer) error { return listText(w, d.Items, d.NotReached) }}, nil
		}),
	}
}

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show DRIVE...", Short: "show all that is known of drives", Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeDrives,
		RunE: a.verb("show", func(ctx context.Context, args []string) (answer, error) {
			selected, err := a.selected(ctx, args)
			if err != nil {
				return answer{}, err
			}
			policy, err := sanitize.PolicyByName("")
			if err != nil {
				return answer{}, err
			}
			shown := make([]shownDrive, len(selected))
			for i, d := range selected {
				shown[i] = shownDrive{d, sanitize.Explain(d, policy)}
			}
			return answer{items: shown, text: func(w io.Writer) error { return showText(w, shown) }}, nil
		}),
	}
}

// completeDrives offers serial numbers, with the model as description.
func (a *app) completeDrives(c *cobra.Command, chosen []string, _ string) ([]string, cobra.ShellCompDirective) {
	listed, err := a.listed(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var words []string
	for _, d := range listed.Items {
		if d.Serial != "" && !strings.Contains(strings.Join(chosen, "\n"), d.Serial) {
			words = append(words, fmt.Sprintf("%s\t%s, %s, %s", d.Serial, d.Model, size(d.SizeBytes), stateWord(d.State)))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// stateWord is a state as people read it.
func stateWord(s devices.State) string {
	return strings.ToUpper(strings.ReplaceAll(string(s), "_", " "))
}

func listText(w io.Writer, drives []devices.Drive, hidden []devices.NotReached) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	slots := slices.ContainsFunc(drives, func(d devices.Drive) bool { return d.Enclosure != nil })
	fmt.Fprintf(t, "STATE\tSERIAL\tMODEL\tSIZE\tPROTOCOL\tNODE\t%sWHY\n", map[bool]string{true: "SLOT\t"}[slots])
	for _, d := range drives {
		place := ""
		if slots {
			place = "-\t"
			if d.Enclosure != nil {
				place = d.Enclosure.String() + "\t"
			}
		}
		var why []string
		if len(d.Reasons) > 0 {
			why = append(why, whyNot(d.Reasons))
		}
		if left := api.Left(d); left != "" {
			why = append(why, left)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s%s\n", stateWord(d.State), dash(d.Serial), dash(d.Model), size(d.SizeBytes), d.Protocol, strings.Join(d.Nodes, " "), place, strings.Join(why, "; "))
	}
	if len(drives) == 0 {
		fmt.Fprintln(t, "(no drives)")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range hidden {
		if _, err := fmt.Fprintf(w, "NOT REACHED  %s: %s\n             %s\n", n.Name, n.Reason.Message, n.Reason.Hint); err != nil {
			return err
		}
	}
	return nil
}

// asRoot is the hint of what only root can read.
const asRoot = "run as root"

// whyNot is why a drive cannot be chosen, in a line. What only root can be told comes as what to do about it.
func whyNot(reasons []devices.Reason) string {
	hidden := func(r devices.Reason) bool { return r.Code == "undetermined" && r.Hint == asRoot }
	seen := slices.DeleteFunc(slices.Clone(reasons), hidden)
	if len(seen) == 0 {
		return "what uses it can be told by root only: " + asRoot
	}
	why := seen[0].Message
	var more []string
	if n := len(seen) - 1; n > 0 {
		more = append(more, fmt.Sprintf("and %d more", n))
	}
	if len(seen) < len(reasons) {
		more = append(more, asRoot+" to see all")
	}
	if len(more) > 0 {
		why += " (" + strings.Join(more, "; ") + ")"
	}
	return why
}

// shownDrive is a drive with what each technique reaches on it under the default policy.
type shownDrive struct {
	devices.Drive
	Techniques []sanitize.Explained `json:"techniques"`
}

func showText(w io.Writer, drives []shownDrive) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, shown := range drives {
		d := shown.Drive
		if i > 0 {
			fmt.Fprintln(t)
		}
		for _, row := range [][2]string{
			{"serial", dash(d.Serial)}, {"model", dash(d.Model)}, {"firmware", dash(d.Firmware)}, {"wwn", dash(d.WWN)},
			{"id", string(d.ID)}, {"nodes", strings.Join(d.Nodes, " ")}, {"controllers", strings.Join(d.Controllers, " ")}, {"protocol", string(d.Protocol)}, {"bridge", d.Bridge}, {"slot", slotWords(d.Enclosure)}, {"media", string(d.Media)},
			{"identity", string(d.Identity)}, {"size", fmt.Sprintf("%s (%d bytes, blocks of %d)", size(d.SizeBytes), d.SizeBytes, d.LogicalBlock)},
			{"namespaces", namespaceWords(d)}, {"units", unitWords(d)}, {"zones", diskZoneWords(d)}, {"sanitize", sanitizeWords(d)}, {"security", securityWords(d)}, {"hidden", hiddenWords(d)}, {"state", stateWord(d.State)},
		} {
			if row[1] == "" {
				continue
			}
			fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
		}
		for _, words := range tcgWords(d) {
			fmt.Fprintf(t, "tcg\t%s\n", words)
		}
		for _, r := range d.Reasons {
			fmt.Fprintf(t, "why not\t%s\n", withHint(r))
		}
		for _, x := range shown.Techniques {
			if x.Method != "" {
				fmt.Fprintf(t, "%s\t%s by %s\n", map[bool]string{true: "reaches", false: "could reach"}[d.State == devices.StateReady], x.Method, x.Technique)
			}
		}
		for _, x := range together(cannot(shown.Techniques)) {
			fmt.Fprintf(t, "cannot\t%s\n", x)
		}
		for _, r := range d.Beside {
			fmt.Fprintf(t, "beside\t%s\n", withHint(r))
		}
		for _, r := range d.Lacks {
			fmt.Fprintf(t, "lacks\t%s\n", withHint(r))
		}
		for _, r := range d.Notes {
			fmt.Fprintf(t, "note\t%s\n", withHint(r))
		}
	}
	return t.Flush()
}

// cannot are the techniques that reach nothing on a drive, in the form of a plan's.
func cannot(list []sanitize.Explained) []sanitize.Rejected {
	var rejected []sanitize.Rejected
	for _, x := range list {
		if x.Method == "" && x.Code != "other_protocol" {
			rejected = append(rejected, sanitize.Rejected{Technique: x.Technique, Code: x.Code, Message: x.Message})
		}
	}
	return rejected
}

func namespaceWords(d devices.Drive) string {
	var list []string
	for _, n := range d.Namespaces {
		w := fmt.Sprintf("%d (%s, %s)", n.NSID, size(n.SizeBytes), dash(n.Node))
		if !n.Attached {
			w = fmt.Sprintf("%d (%s, attached to no controller)", n.NSID, size(n.SizeBytes))
		}
		if n.Zoned {
			w += ": " + zoneWords(n.Zones)
		}
		list = append(list, w)
	}
	return strings.Join(list, ", ")
}

// diskZoneWords say how a hard disk is zoned.
func diskZoneWords(d devices.Drive) string {
	if d.Zoning == devices.HostManaged {
		return string(d.Zoning) + ": " + zoneWords(d.Zones)
	}
	return string(d.Zoning)
}

// zoneWords say how a namespace or a hard disk is zoned.
func zoneWords(z devices.Zones) string {
	if z.Count == 0 {
		return "zoned"
	}
	w := fmt.Sprintf("%d zones of %s", z.Count, size(z.SizeBytes))
	if z.CapacityBytes < z.SizeBytes {
		w += fmt.Sprintf(", %s of each are blocks", size(z.CapacityBytes))
	}
	return w
}

func unitWords(d devices.Drive) string {
	var list []string
	for _, u := range d.Units {
		list = append(list, fmt.Sprintf("%s (%s, %s)", unitName(d.Protocol, u.LUN), size(u.SizeBytes), u.Node))
	}
	return strings.Join(list, ", ")
}

// unitName names a logical unit, or an area of an eMMC by its number (PARTITION_ACCESS, JESD84-B51 7.4.69).
func unitName(p devices.Protocol, number uint64) string {
	switch {
	case p != devices.ProtocolMMC:
		return fmt.Sprintf("logical unit %d", number)
	case number == 0:
		return "user area"
	}
	return fmt.Sprintf("area %d, a general purpose partition", number)
}

// securityWords say how an ATA drive's passwords stand.
func securityWords(d devices.Drive) string {
	s := d.Security
	if s == nil {
		return ""
	}
	words := "no password"
	if s.Enabled {
		words = "password set"
	}
	for _, x := range []struct {
		is   bool
		word string
	}{{s.Locked, "LOCKED"}, {s.Frozen, "frozen"}, {s.CountExpired, "count expired"}, {s.Enhanced, "enhanced erase"}} {
		if x.is {
			words += ", " + x.word
		}
	}
	return words
}

func hiddenWords(d devices.Drive) string {
	var list []string
	for _, a := range d.Hidden {
		list = append(list, fmt.Sprintf("%s by %s", size(a.NativeBytes-a.FromBytes), a.Kind))
	}
	return strings.Join(list, ", ")
}

// sanitizeWords say what the drive's own sanitize can do and how it stands.
func sanitizeWords(d devices.Drive) string {
	s := d.Sanitize
	if s == nil {
		return ""
	}
	var can []string
	for _, x := range []struct {
		has  bool
		word string
	}{{s.Crypto, "crypto"}, {s.Block, "block"}, {s.Overwrite, "overwrite"}} {
		if x.has {
			can = append(can, x.word)
		}
	}
	words := strings.Join(can, ", ") + "; " + string(s.State)
	if s.Waiting {
		return words + " (in media verification)"
	}
	if s.State == devices.SanitizeRunning {
		words += fmt.Sprintf(" (%d %%)", s.Percent)
	}
	return words
}

func withHint(r devices.Reason) string {
	if r.Hint == "" {
		return r.Message
	}
	return r.Message + " (" + r.Hint + ")"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// size is a number of bytes in decimal units, as on the drive's label.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	v, u := float64(n), 0
	for v >= 999.5 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	if u == 0 || v >= 99.95 {
		return fmt.Sprintf("%.0f %s", v, units[u])
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}
