// Package overwrite writes a pattern over extents of a drive, says which of them are on stable
// media, and reads them back to compare.
//
// It decides in which order and how deep, and knows neither kernels nor plans: requests go into a
// blockio.Queue. Memory is bounded by queue depth times request size. An extent is reported only
// after a flush that was submitted when its writes had completed; a request that fails is made
// smaller until the blocks that cannot be written or read stand alone.
package overwrite
