//! The real seam: glommio.
