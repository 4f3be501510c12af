//! The simulated seam.
