package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is everything that was measured.
type Report struct {
	Schema   string            `json:"schema"`
	Date     time.Time         `json:"date"`
	Command  []string          `json:"command"`
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Missing  []string          `json:"missing,omitempty"` // programs that are not installed
	Rounds   int               `json:"rounds"`
	Rows     []Row             `json:"rows"`
	Hosts    []SimRow          `json:"simulated_hosts"`
	Skipped  []string          `json:"skipped,omitempty"` // what was not measured, and why
}

const schema = "expunge-bench/v1"

func (r Report) header(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%s   %s\n", r.Date.Format(time.RFC3339), strings.Join(r.Command, " "))
	fmt.Fprintf(w, "%s, %d cores (%s), %s, %s, load %s\n", m.CPU, m.Cores, cmp.Or(strings.Join(m.Flags, " "), "no AES"), m.Kernel, m.Go, m.Load)
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintf(w, "%s: %s\n", name, r.Versions[name])
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(w, "not installed, and without rows: %s\n", strings.Join(r.Missing, ", "))
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "not measured: %s\n", s)
	}
}

// write prints the report for people.
func (r Report) write(w io.Writer) error {
	r.header(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var last Row
	for _, row := range r.Rows {
		if row.Pass != last.Pass || row.Drives != last.Drives {
			fmt.Fprintf(t, "\n%s, %d × %d MiB\tGB/s\tmin–max\tCPU-s/GB\tmin–max\tours is\tours needs\n", row.Pass, row.Drives, row.Bytes/int64(row.Drives)>>20)
		}
		last = row
		row.line(t)
	}
	if len(r.Hosts) > 0 {
		fmt.Fprintf(t, "\nsimulated host\tscale\tlimit of each\tshare: min\tmedian\tGB/s\tCPU-s/GB\tcores\tpeak MiB\n")
		for _, h := range r.Hosts {
			if h.Void != "" {
				fmt.Fprintf(t, "%s\tVOID: %s\n", h.Host, h.Void)
				continue
			}
			fmt.Fprintf(t, "%s\t%g\t%.1f MB/s\t%.3f\t%.3f\t%.2f\t%.3f\t%.2f\t%d\n", h.Host, h.Scale, h.Limit, h.Share.Min, h.Share.Median, h.Total, h.CPU, h.Cores, h.PeakMiB)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, notes)
	return err
}

func (r Row) line(w io.Writer) {
	name := r.Tool
	if r.Clock == byDrives {
		name += " *"
	}
	if r.Void != "" {
		fmt.Fprintf(w, "%s\tVOID: %s\n", name, r.Void)
		return
	}
	faster, less := "", ""
	if r.OursFaster != nil {
		faster = fmt.Sprintf("%.2f×", *r.OursFaster)
	}
	if r.OursLessCPU != nil {
		less = fmt.Sprintf("1/%.1f CPU", *r.OursLessCPU)
	}
	fmt.Fprintf(w, "%s\t%.2f\t%.2f–%.2f\t%.3f\t%.3f–%.3f\t%s\t%s\n", name, r.GBps.Median, r.GBps.Min, r.GBps.Max, r.CPU.Median, r.CPU.Min, r.CPU.Max, faster, less)
	if r.Note != "" {
		fmt.Fprintf(w, "  %s\n", r.Note)
	}
}

const notes = `
GB are 10^9 bytes of drive. With verification each byte is written and read; it counts once. Medians of rounds in which all take turns;
ratios are of medians: the engine's rate by the other's, the other's processor time per GB by the engine's.
Time is that of the whole process. Where marked * it is from the first write to the end of the last request, because the program sleeps
before or after; this is to its advantage. Processor time is that of the process and its children; the kernel's loop workers and its
writing back of cached pages are in none. The engine runs in this process, from opening the drives to closing them.
Simulated drives keep nothing: processor time is that of making the stream and handing it over. At a scale below 1 a request lasts longer
than on a real drive, and a delay of the host weighs less by as much.
`

// problems are what makes a run useless, for -quick: rows that are void or missing.
func (r Report) problems(o Options) []string {
	var list []string
	if o.Loop && len(r.Skipped) == 0 {
		for _, n := range o.Drives {
			for _, pass := range passes {
				for _, tool := range []string{engineName, productName} {
					if !slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Pass == pass && row.Drives == n && row.Tool == tool && row.Overwritten }) {
						list = append(list, fmt.Sprintf("%s, %d drives: %s did not overwrite them", pass, n, tool))
					}
				}
			}
		}
	}
	for _, row := range r.Rows {
		if row.Void != "" {
			list = append(list, fmt.Sprintf("%s, %d drives, %s: %s", row.Pass, row.Drives, row.Tool, row.Void))
		}
	}
	for _, h := range r.Hosts {
		if h.Void != "" {
			list = append(list, h.Host+": "+h.Void)
		}
	}
	if o.Sim && len(r.Hosts) != len(simHosts) {
		list = append(list, fmt.Sprintf("%d of %d simulated hosts", len(r.Hosts), len(simHosts)))
	}
	return list
}
