"""What an agent's browser meets: the component, the launch, and the pages in the frame."""
