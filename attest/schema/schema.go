// Package schema has the JSON schemas of the statements, for people who write their own tools. The
// verifier does not use them: it has rules of its own, which say more.
package schema

import "embed"

// Files are the schemas, by file name.
//
//go:embed *.json
var Files embed.FS
