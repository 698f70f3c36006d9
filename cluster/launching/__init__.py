"""Starting Ray and Serve for one application, finding what runs, and stopping all of it."""
