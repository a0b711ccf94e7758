//! Reads YAML texts of ours (settings, policy documents); an error names the place and the remedy.
