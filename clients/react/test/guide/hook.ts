// The usage guide's hook, as it is printed there. Only the export is ours.

/// <reference types="vite/client" />

// React hook example
import { useEffect, useState } from 'react'

function useWebSocket(token: string) {
  const [ws, setWs] = useState<WebSocket | null>(null)
  const [messages, setMessages] = useState<any[]>([])

  useEffect(() => {
    const websocketUrl = import.meta.env.VITE_WEBSOCKET_URL
    const socket = new WebSocket(`${websocketUrl}?token=${token}`)

    socket.onopen = () => {
      console.log('WebSocket connected')
    }

    socket.onmessage = (event) => {
      const message = JSON.parse(event.data)
      setMessages(prev => [...prev, message])

      // Handle different message types
      if (message.type === 'upload_progress') {
        // Update progress bar
        console.log('Upload progress:', message.data.progress)
      } else if (message.type === 'notification') {
        // Show toast notification
        console.log('Notification:', message.data.title)
      }
    }

    socket.onerror = (error) => {
      console.error('WebSocket error:', error)
    }

    socket.onclose = () => {
      console.log('WebSocket disconnected')
    }

    setWs(socket)

    return () => {
      socket.close()
    }
  }, [token])

  return { ws, messages }
}

export { useWebSocket };
