//go:build !unix

package devices

import "io/fs"

func inode(_ fs.FileInfo, other string) string { return other }

func deviceNumber(fs.FileInfo) (n Number, block, character bool) { return Number{}, false, false }
