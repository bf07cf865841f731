package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
)

// destroyed is what destroy record is told.
type destroyed struct {
	model, serial, wwn, media string
	when                      string
	photos                    []string
	attest.Destruction
}

func (a *app) destroyCommand() *cobra.Command {
	var d destroyed
	techniques := strings.Join(append(slices.Clone(attest.Destroying), attest.Degauss), ", ")
	record := &cobra.Command{
		Use:   "record {SERIAL | --model MODEL --serial SERIAL --media MEDIA} --technique T --operator NAME --witness NAME --place PLACE --time TIME",
		Short: "record that people destroyed a drive", Args: cobra.MaximumNArgs(1),
		Long: "record signs and logs what people did to a drive by other means than this program: one that failed, could not be told of, or was never\n" +
			"reached. A drive that this state never had is named by --model, --serial and --media. What is said is signed as said, and not checked; of\n" +
			"photos the digests are kept. A degausser purges magnetic media alone: for flash, and for media that are not known, it is refused.",
		Example: "  expunge destroy record SERIAL --technique shred --operator \"O. Perator\" --witness \"W. Itness\" --place \"hall 3\" --time 2026-01-02T15:04:05+01:00",
		RunE: a.served("destroy-record", func(ctx context.Context, ag *agent.Agent, args []string) (answer, error) {
			return a.destroyRecord(ctx, ag, args, d)
		}),
	}
	f := record.Flags()
	f.StringVar(&d.Technique, "technique", "", techniques)
	f.StringVar(&d.Operator.Name, "operator", "", "`NAME` of who destroyed it")
	f.StringVar(&d.Witness.Name, "witness", "", "`NAME` of who saw it")
	f.StringVar(&d.Place, "place", "", "where")
	f.StringVar(&d.when, "time", "", "when, as `RFC3339`")
	f.StringVar(&d.Equipment, "equipment", "", "by which machine")
	f.StringVar(&d.Note, "note", "", "what else there is to say")
	f.StringArrayVar(&d.photos, "photo", nil, "a picture in `FILE`, whose digest is kept; may be given several times")
	f.StringVar(&d.model, "model", "", "of a drive that this state never had")
	f.StringVar(&d.serial, "serial", "", "the same")
	f.StringVar(&d.wwn, "wwn", "", "the same, where it has one")
	f.StringVar(&d.media, "media", "", "what it kept data in: "+strings.Join(attest.Media, ", "))
	c := &cobra.Command{Use: "destroy", Short: "record the destruction of drives", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(record)
	return c
}

func (a *app) destroyRecord(ctx context.Context, ag *agent.Agent, args []string, d destroyed) (answer, error) {
	for _, must := range [][2]string{{"technique", d.Technique}, {"operator", d.Operator.Name}, {"witness", d.Witness.Name}, {"place", d.Place}, {"time", d.when}} {
		if must[1] == "" {
			return answer{}, usage("--"+must[0], fmt.Errorf("--%s is missing", must[0]))
		}
	}
	if d.Technique != attest.Degauss && !slices.Contains(attest.Destroying, d.Technique) {
		return answer{}, usage("--technique "+strings.Join(append(slices.Clone(attest.Destroying), attest.Degauss), ", "), fmt.Errorf("there is no technique %q", d.Technique))
	}
	when, err := time.Parse(time.RFC3339, d.when)
	if err != nil {
		return answer{}, usage("--time 2026-01-02T15:04:05+01:00, or with Z", fmt.Errorf("--time %q is no time with its zone", d.when))
	}
	d.When = when.UTC().Format(time.RFC3339)
	if err := nameDestroyed(ag, args, &d); err != nil {
		return answer{}, err
	}
	if d.Photos, err = photos(d.photos); err != nil {
		return answer{}, err
	}
	file, err := ag.RecordDestruction(ctx, d.Destruction)
	if err != nil {
		return answer{}, err
	}
	return answer{
		result: map[string]any{"file": file, "id": d.Device.ID, "serial": d.Device.Serial, "model": d.Device.Model, "technique": d.Technique, "media": d.Media},
		text: func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s %s: %s\n  record %s\n", d.Device.Model, d.Device.Serial, d.Words(), file)
			return err
		},
	}, nil
}

// nameDestroyed finds the drive in the state, or takes it as it is said. What the state knows of the media cannot be said otherwise.
func nameDestroyed(ag *agent.Agent, args []string, d *destroyed) error {
	if d.media != "" && !slices.Contains(attest.Media, d.media) {
		return usage("--media "+strings.Join(attest.Media, ", "), fmt.Errorf("there are no media %q", d.media))
	}
	name := d.serial
	if len(args) == 1 {
		if d.model != "" || d.serial != "" || d.wwn != "" {
			return usage("name a drive of this state, or say model and serial of another", errors.New("a drive is named twice"))
		}
		name = args[0]
	} else if d.model == "" || d.serial == "" {
		return usage("SERIAL, or --model, --serial and --media of a drive that this state never had", errors.New("no drive is named"))
	}
	known, err := ag.FindDoomed(name)
	switch {
	case err == nil && len(args) == 0 && (known.Name.Model != d.model || d.wwn != "" && known.Name.WWN != d.wwn):
		return &problem{code: exitNotFound, name: "ambiguous", err: fmt.Errorf("this state had a drive %s %s: it is not the one that is named", known.Name.Model, name), hint: "look at model, serial and WWN"}
	case err == nil:
		d.Device, d.Media, d.Known = known.Name, known.Media, true
		if d.media != "" && d.media != known.Media {
			if known.Media != string(devices.MediaUnknown) {
				return &problem{code: exitRefused, name: "media_differ", err: fmt.Errorf("the media of %s are %s, as the drive itself said, and not %s", name, known.Media, d.media), hint: "leave --media out"}
			}
			d.Media = d.media
		}
		return nil
	case errors.Is(err, devices.ErrAmbiguous):
		return &problem{code: exitNotFound, name: "ambiguous", err: fmt.Errorf("this state had several drives %q", name), hint: "name it by its id or WWN: expunge jobs --json shows them"}
	case len(args) == 1 && errors.Is(err, devices.ErrNotFound):
		return &problem{code: exitNotFound, name: "not_found", err: fmt.Errorf("no job of this state had a drive %q", name), hint: "say --model, --serial and --media in its place"}
	case !errors.Is(err, devices.ErrNotFound):
		return err
	case d.media == "":
		return usage("--media "+strings.Join(attest.Media, ", "), errors.New("the media are not said"))
	}
	d.Device, d.Media = attest.Name(d.model, d.serial, d.wwn), d.media
	return nil
}

// maxPhoto bounds a picture.
const maxPhoto = 256 << 20

func photos(names []string) ([]attest.Photo, error) {
	list := []attest.Photo{}
	for _, name := range names {
		wrong := func(err error) error { return usage("--photo FILE", fmt.Errorf("--photo %s: %w", name, err)) }
		f, err := os.Open(name)
		if err != nil {
			return nil, wrong(err)
		}
		h := sha256.New()
		n, err := io.Copy(h, io.LimitReader(f, maxPhoto+1))
		if err = errors.Join(err, f.Close()); err == nil && (n == 0 || n > maxPhoto) {
			err = fmt.Errorf("it has %d bytes", n)
		}
		if err != nil {
			return nil, wrong(err)
		}
		list = append(list, attest.Photo{Bytes: n, Name: filepath.Base(name), SHA256: hex.EncodeToString(h.Sum(nil))})
	}
	return list, nil
}
