package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: cobra.NoArgs,
		RunE: a.verb("version", func(context.Context, []string) (answer, error) {
			return answer{
				result: map[string]string{"version": version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH},
				text: func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "expunge %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
					return err
				},
			}, nil
		}),
	}
}

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man [DIR]", Short: "print the manual page, or write those of all verbs to DIR", Args: cobra.MaximumNArgs(1),
		RunE: a.verb("man", func(_ context.Context, args []string) (answer, error) {
			root := a.command()
			root.DisableAutoGenTag = true
			// A fixed date: the page is the same however often it is made.
			date := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			header := &doc.GenManHeader{Title: "EXPUNGE", Section: "8", Source: "expunge", Manual: "System administration", Date: &date}
			if len(args) == 0 {
				return answer{text: func(w io.Writer) error { return doc.GenMan(root, header, w) }}, nil
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return answer{}, err
			}
			header.Title = ""
			return fileAnswer(args[0]), doc.GenManTree(root, header, args[0])
		}),
	}
}

func indented(v any) (string, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	return string(data), err
}
