package attest

import "encoding/base64"

// maxPage bounds a page of a drive.
const maxPage = 6144

// PackPage spells a page of a drive in base64, most of which is zeros: a zero byte is followed by how many of them
// there are at this place, 1 to 255, and all other bytes stand for themselves.
func PackPage(page []byte) string {
	packed := make([]byte, 0, 256)
	for i := 0; i < len(page); {
		if page[i] != 0 {
			packed, i = append(packed, page[i]), i+1
			continue
		}
		n := 0
		for i+n < len(page) && page[i+n] == 0 && n < 255 {
			n++
		}
		packed, i = append(packed, 0, byte(n)), i+n
	}
	return base64.StdEncoding.EncodeToString(packed)
}

// unpackPage is the page as the drive gave it, from what PackPage made of it; nil when PackPage makes nothing such, and
// when there is none.
func unpackPage(text string) []byte {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	var page []byte
	for i := 0; i < len(packed); i++ {
		if packed[i] != 0 {
			page = append(page, packed[i])
		} else if i++; i < len(packed) {
			page = append(page, make([]byte, packed[i])...)
		}
		if len(page) > maxPage {
			return nil
		}
	}
	if PackPage(page) != text {
		return nil
	}
	return page
}

func isPage(text string) bool { return text == "" || unpackPage(text) != nil }
