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
	Agent    []Figure          `json:"agent"`
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
	for at := 0; at < len(r.Rows); {
		end := at + 1
		for end < len(r.Rows) && r.Rows[end].Pass == r.Rows[at].Pass && r.Rows[end].Drives == r.Rows[at].Drives {
			end++
		}
		if err := table(w, r.Rows[at:end]); err != nil {
			return err
		}
		at = end
	}
	if len(r.Hosts) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(t, "\nsimulated host\tscale\tlimit of each\tshare: min\tmedian\tGB/s\tCPU-s/GB\tcores\tpeak MiB\n")
		for _, h := range r.Hosts {
			if h.Void != "" {
				fmt.Fprintf(t, "%s\tVOID: %s\n", h.Host, h.Void)
				continue
			}
			fmt.Fprintf(t, "%s\t%g\t%.1f MB/s\t%.3f\t%.3f\t%.2f\t%.3f\t%.2f\t%d\n", h.Host, h.Scale, h.Limit, h.Share.Min, h.Share.Median, h.Total, h.CPU, h.Cores, h.PeakMiB)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if err := figures(w, r.Agent); err != nil {
		return err
	}
	_, err := io.WriteString(w, notes)
	return err
}

// table prints the rows of one pass on so many drives; what is to be said of some of them comes after it.
func table(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	first := rows[0]
	fmt.Fprintf(t, "\n%s, %d × %d MiB\tGB/s\tmin–max\tours ÷ its\tCPU-s/GB\tmin–max\tits ÷ ours\n", first.Pass, first.Drives, first.Bytes/int64(first.Drives)>>20)
	var said []string
	for _, row := range rows {
		name := row.Tool
		if row.Clock == byDrives {
			name += " *"
		}
		if row.Void != "" {
			said = append(said, fmt.Sprintf("%s: VOID: %s", row.Tool, row.Void))
			continue
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.2f–%.2f\t%s\t%.3f\t%.3f–%.3f\t%s\n", name, row.GBps.Median, row.GBps.Min, row.GBps.Max, times(row.OursFaster),
			row.CPU.Median, row.CPU.Min, row.CPU.Max, times(row.OursLessCPU))
		if row.Note != "" {
			said = append(said, fmt.Sprintf("%s: %s", row.Tool, row.Note))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range said {
		fmt.Fprintf(w, "  %s\n", line)
	}
	return nil
}

func times(ratio *float64) string {
	if ratio == nil {
		return ""
	}
	return fmt.Sprintf("%.2f×", *ratio)
}

const notes = `
GB are 10^9 bytes of drive. With verification each byte is written and read; it counts once. Medians of rounds in which all take turns;
ratios are of medians, and above 1 where the engine is better: its rate by the other's, the other's processor time per GB by its own.
Time is that of the whole process. Where marked * it is from the first write to the end of the last request, because the program sleeps
or prepares before and after, and so is its processor time; this is to its advantage. Processor time is that of the process and its
children; the kernel's loop workers and its writing back of cached pages are in none. The engine runs in this process, from opening the drives to closing them.
Simulated drives keep nothing: processor time is that of making the stream and handing it over. At a scale below 1 a request lasts longer
than on a real drive, and a delay of the host weighs less by as much.
The agent is a process of its own, asked at its Unix socket; the drives are virtual and within it, so that what it uses for them is in its
memory and processor time, too.
`

// problems are what makes a run useless, for -quick: rows that are void or missing.
func (r Report) problems(o Options) []string {
	var list []string
	if o.Loop && len(r.Skipped) == 0 {
		for _, n := range o.Drives {
			for _, pass := range o.Passes {
				for _, tool := range []string{engineName, productName} {
					if o.leavesOut(tool) {
						continue
					}
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
	for _, f := range r.Agent {
		if f.Void != "" {
			list = append(list, f.What+": "+f.Void)
		}
	}
	if o.Agent && len(r.Agent) == 0 {
		list = append(list, "nothing of the agent")
	}
	if o.Sim && len(r.Hosts) != len(simHosts) {
		list = append(list, fmt.Sprintf("%d of %d simulated hosts", len(r.Hosts), len(simHosts)))
	}
	return list
}
