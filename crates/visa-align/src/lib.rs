//! Detector, translator, consistency checker, rewriter backends and the closed loop
