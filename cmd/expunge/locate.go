package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

func (a *app) locateCommand() *cobra.Command {
	off := false
	c := &cobra.Command{
		Use: "locate DRIVE", Short: "switch on the light of the slot that a drive is in", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeDrives,
		Long: "locate switches on the light of the slot that a drive is in, so that a person finds it. The kernel must know the slot:\n" +
			"an enclosure with SES, or a PCI slot with an attention indicator. The drive is identified anew before, the light is read\n" +
			"back after, and nothing is written to the drive. The light stays on until --off.",
		Example: "  expunge locate SERIAL\n  expunge locate SERIAL --off",
		RunE: a.verb("locate", func(ctx context.Context, args []string) (answer, error) {
			svc, err := a.onlooker(ctx)
			if err != nil {
				return answer{}, err
			}
			if err := a.course.begins(ctx, "the light may have been switched", "look at it, or say it again"); err != nil {
				return answer{}, err
			}
			l, err := svc.Locate(byHand(ctx), args[0], api.LocateRequest{On: !off})
			if err != nil {
				return answer{}, err
			}
			return answer{result: l, text: func(w io.Writer) error { return locateText(w, l) }}, nil
		}),
	}
	c.Flags().BoolVar(&off, "off", false, "switch it off")
	return c
}

func locateText(w io.Writer, l api.Located) error {
	again, name := "", l.Serial
	if name == "" {
		name = string(l.ID)
	}
	if l.Light == "on" {
		again = "off again: expunge locate " + quote(name) + " --off\n"
	}
	_, err := fmt.Fprintf(w, "%s %s: the light is %s: %s\n%s", dash(l.Model), dash(l.Serial), l.Light, slotWords(l.Enclosure), again)
	return err
}

// slotWords say where a drive is, with all by which a person tells one enclosure from another.
func slotWords(e *devices.Enclosure) string {
	if e == nil {
		return ""
	}
	words := e.String()
	if e.Kind != devices.SlotEnclosure {
		return words
	}
	if e.Slot != nil {
		words += fmt.Sprintf(", named %q", e.SlotName)
	}
	if e.Product != "" {
		words += ", " + e.Product
	}
	if e.ID != "" {
		words += ", id " + e.ID
	}
	return words
}
