// The guide's way to handle messages, as it is printed there, in a component around it.

import { useEffect, useState } from 'react'

type Toast = (toast: { title: string; description: string; variant: string }) => void
type Hook = (token: string) => { ws: WebSocket | null; messages: any[] }

/** A component that uses a hook of the guide's shape. */
export function panelOf(useWebSocket: Hook) {
  return function Panel({ token, toast }: { token: string; toast: Toast }) {
    const { ws: socket, messages } = useWebSocket(token)
    const [uploadProgress, setUploadProgress] = useState(0)
    const [uploadMessage, setUploadMessage] = useState('')

    useEffect(() => {
      if (!socket) return

      socket.onmessage = (event) => {
        const message = JSON.parse(event.data)

        switch (message.type) {
          case 'upload_progress':
            // Update progress indicator
            setUploadProgress(message.data.progress)
            setUploadMessage(message.data.message)
            break

          case 'notification':
            // Show toast notification
            toast({
              title: message.data.title,
              description: message.data.message,
              variant: message.data.severity,
            })
            break

          case 'error':
            // Handle error
            console.error('WebSocket error:', message.data)
            break
        }
      }
    }, [socket, toast])

    return (
      <p>
        {uploadProgress} % {uploadMessage} ({messages.length})
      </p>
    )
  }
}
